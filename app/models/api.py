"""Owns what runs the system rather than passing through it: API keys, what was done with them, and the lanes."""

from datetime import datetime
from enum import IntEnum
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Code, Instant
from app.models.event import Lane


class Scope(IntEnum):
    """What a key may do; each includes those below it."""

    READ = 1
    WRITE = 2
    ADMIN = 3


class ApiKey(Base):
    """One key of the API; the key itself is never stored."""

    __tablename__ = "api_key"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    scope: Mapped[Scope] = mapped_column(Code(Scope))
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """HMAC-SHA256 of the key under the pepper."""
    created_at: Mapped[Instant] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """From then on it opens nothing; None: it never ends by itself."""
    source_ids: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    """The only sources that it may see or touch; None: all of them."""


class Audit(Base):
    """One thing that somebody did to the system: append-only, a trigger refuses all else."""

    __tablename__ = "audit"
    __table_args__ = (Index("audit_subject_idx", "subject", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[Instant] = mapped_column(server_default=func.clock_timestamp())
    actor: Mapped[str] = mapped_column(Text)
    """``key:NAME#ID`` of an API key, ``cli:USER`` of a command line, ``tiercel`` of the system itself."""
    action: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    """What it was done to: ``source:shop``, ``key:3``, ``policy:7``, ``event:…``."""
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """What was said with it; never a secret."""


class ApiRequest(Base):
    """One request with an Idempotency-Key, and the answer that it got."""

    __tablename__ = "desk_request"
    __table_args__ = (
        PrimaryKeyConstraint("key_id", "digest"),
        Index("desk_request_created_at_idx", "created_at"),
    )

    key_id: Mapped[int]
    """The API key that made it."""
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    """HMAC of the Idempotency-Key under the pepper."""
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    """HMAC of path, query and body under the pepper: the same key with another request is refused."""
    created_at: Mapped[Instant] = mapped_column(server_default=func.now())
    status: Mapped[int | None] = mapped_column(SmallInteger)
    """None while it is under way."""
    sealed: Mapped[str | None] = mapped_column(Text)
    """The answer's body as the vault seals it: it may hold a new key."""


class LaneState(Base):
    """What the dispatcher last saw of a lane; the receiver reads ``open`` inside its INSERT."""

    __tablename__ = "lane"

    lane: Mapped[Lane] = mapped_column(Code(Lane), primary_key=True, autoincrement=False)
    open: Mapped[bool] = mapped_column(server_default=text("true"))
    """Whether the receiver may publish directly."""
    window: Mapped[int] = mapped_column(server_default=text("2000"))
    """Pointers that the lane's queue may hold."""
    out: Mapped[int] = mapped_column(server_default=text("0"))
    """Pointers presumed in the queue or in a worker."""
    drain_per_s: Mapped[float] = mapped_column(server_default=text("0"))
    dispatcher_seen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    workers: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """Consumers of the lane's queue."""
    oldest_due_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Since when the longest waiting due event has been due."""


class Shed(Base):
    """How many events of a lane the receiver refused in one second; the row at the epoch counts all of them."""

    __tablename__ = "shed"

    lane: Mapped[Lane] = mapped_column(Code(Lane), primary_key=True, autoincrement=False)
    at: Mapped[Instant] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
