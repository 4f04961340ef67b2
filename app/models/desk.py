"""Owns what runs the system rather than passing through it: API keys and the state of the lanes."""

from datetime import datetime
from enum import IntEnum

from sqlalchemy import BigInteger, DateTime, LargeBinary, SmallInteger, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Code, Instant
from app.models.event import Lane


class Scope(IntEnum):
    """What a key may do; each includes those below it."""

    READ = 1
    WRITE = 2
    ADMIN = 3


class ApiKey(Base):
    """One key of the desk; the key itself is never stored."""

    __tablename__ = "api_key"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    scope: Mapped[Scope] = mapped_column(Code(Scope))
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """HMAC-SHA256 of the key under the pepper."""
    created_at: Mapped[Instant] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


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
    """How many events of a lane the door refused in one second; the row at the epoch counts all of them."""

    __tablename__ = "shed"

    lane: Mapped[Lane] = mapped_column(Code(Lane), primary_key=True, autoincrement=False)
    at: Mapped[Instant] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
