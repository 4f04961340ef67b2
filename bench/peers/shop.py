"""Owns the work that every peer does with an event: the entity and its typed row, under a version check.

As a tutorial has it: one Redis lock, one SELECT, one commit a task, through SQLAlchemy's ORM.
"""

from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

from redis import Redis
from sqlalchemy import Engine, MetaData, Text, create_engine, func
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from app.models.base import Instant
from config.settings import settings

SCHEMA = "bench_peers"
THREADS = 16
"""Connections a process may hold: as many as its threads can use."""
_LOCK_S = 10.0


class Base(DeclarativeBase):
    """The peers' tables, in a schema of their own."""

    metadata = MetaData(schema=SCHEMA)


class Entity(Base):
    __tablename__ = "entity"

    type: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[Instant]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    applied_at: Mapped[Instant]


class Price(Base):
    __tablename__ = "price"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    amount: Mapped[Decimal]
    currency: Mapped[str] = mapped_column(Text)
    version: Mapped[Instant]


class Segment(Base):
    __tablename__ = "segment"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    members: Mapped[int]
    version: Mapped[Instant]


class Inbox(Base):
    """For the peer that keeps what it accepted."""

    __tablename__ = "inbox"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)
    received_at: Mapped[Instant] = mapped_column(server_default=func.now())
    done_at: Mapped[Instant | None]


@cache
def engine() -> Engine:
    """Return this process's engine; made at its first use, so never before the fork."""
    return create_engine(settings().database_url, pool_size=THREADS, max_overflow=0)


@cache
def _redis() -> Redis:
    return Redis.from_url(settings().redis_url)


def apply(body: dict[str, Any]) -> None:
    """Apply one event's body."""
    noun, data = body["type"].partition(".")[0], body["data"]
    lock = _redis().lock(f"{SCHEMA}:{noun}:{data['id']}", timeout=_LOCK_S, sleep=0.01)
    with lock, Session(engine()) as session, session.begin():
        write(session, noun, data)


def write(session: Session, noun: str, data: dict[str, Any]) -> None:
    """Write the entity and its typed row, unless something newer stands there."""
    version = datetime.fromisoformat(data["updated_at"])
    entity = session.get(Entity, (noun, data["id"]))
    if entity is None:
        entity = Entity(type=noun, id=data["id"])
        session.add(entity)
    elif entity.version >= version:
        return
    entity.version, entity.data, entity.applied_at = version, data, func.clock_timestamp()
    if noun == "price":
        row = {"amount": Decimal(data["amount"]), "currency": data["currency"], "version": version}
        session.execute(
            insert(Price).values(id=data["id"], **row).on_conflict_do_update(index_elements=["id"], set_=row)
        )
    elif noun == "segment":
        row = {"name": data["name"], "members": data["members"], "version": version}
        session.execute(
            insert(Segment).values(id=data["id"], **row).on_conflict_do_update(index_elements=["id"], set_=row)
        )
