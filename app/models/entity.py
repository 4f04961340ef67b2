"""Owns the generic entity: the newest state of anything a platform has a noun for, and the facts about it."""

import uuid
from decimal import Decimal

from sqlalchemy import Index, LargeBinary, PrimaryKeyConstraint, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.events.incoming import Operation
from app.models.base import Base, Code, Exact, Instant


class Entity(Base):
    """One thing of one source at its newest version, or its tombstone."""

    __tablename__ = "entity"
    __table_args__ = (
        PrimaryKeyConstraint("source_id", "entity_type", "entity_id"),
        Index("entity_tombstone_idx", "applied_at", postgresql_where=text("data IS NULL")),
    )

    source_id: Mapped[int]
    entity_type: Mapped[str] = mapped_column(Text)
    entity_id: Mapped[str] = mapped_column(Text)
    version: Mapped[Decimal] = mapped_column(Exact)
    version_text: Mapped[str | None] = mapped_column(Text)
    sequence: Mapped[Decimal] = mapped_column(Exact)
    operation: Mapped[Operation] = mapped_column(Code(Operation))
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    final: Mapped[bool] = mapped_column(server_default=text("false"))
    data: Mapped[str | None] = mapped_column(Text)
    """The sender's object as canonical JSON; null when deleted."""
    event_id: Mapped[uuid.UUID]
    applied_at: Mapped[Instant] = mapped_column(server_default=func.now())


class Fact(Base):
    """That something happened; fenced by its event, so that it is recorded exactly once."""

    __tablename__ = "fact"
    __table_args__ = (Index("fact_entity_idx", "source_id", "entity_type", "entity_id"),)

    event_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    source_id: Mapped[int]
    entity_type: Mapped[str] = mapped_column(Text)
    entity_id: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[Instant] = mapped_column(server_default=func.now())
