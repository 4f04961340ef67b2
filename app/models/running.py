"""Owns what the system keeps of its own running: who leads, when periodic work ran, which replays are under way."""

import uuid
from datetime import datetime
from enum import IntEnum
from typing import Any

from sqlalchemy import DateTime, Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Code, Instant

_TIME = DateTime(timezone=True)


class LeaderState(Base):
    """The last sign of life of whoever leads in a role; who it is, the advisory lock says."""

    __tablename__ = "leader"

    role: Mapped[str] = mapped_column(Text, primary_key=True)
    seen_at: Mapped[Instant]


class PeriodicRun(Base):
    """When a piece of periodic work was last started, whoever started it."""

    __tablename__ = "periodic_run"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    ran_at: Mapped[Instant]


class ReplayState(IntEnum):
    """Where a replay of history is."""

    RUNNING = 0
    DONE = 1
    STOPPED = 2
    """By a person."""


class Replay(Base):
    """A replay of history: which events, and how far it has come."""

    __tablename__ = "replay"
    __table_args__ = (
        Index("replay_running_idx", "created_at", postgresql_where=text(f"state = {ReplayState.RUNNING:d}")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """The caller's, so that asking twice replays once."""
    wanted: Mapped[dict[str, Any]]
    """The filter, as it was given."""
    per_s: Mapped[int]
    requested_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[Instant] = mapped_column(server_default=func.now())
    """Only events received before take part."""
    state: Mapped[ReplayState] = mapped_column(Code(ReplayState), server_default=text("0"))
    matching: Mapped[int]
    """How many events matched when it was asked for."""
    replayed: Mapped[int] = mapped_column(server_default=text("0"))
    position_at: Mapped[datetime | None] = mapped_column(_TIME)
    position_id: Mapped[uuid.UUID | None]
    """Everything up to this event has been looked at."""
    finished_at: Mapped[datetime | None] = mapped_column(_TIME)
