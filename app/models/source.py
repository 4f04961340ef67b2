"""Owns the source: one configured endpoint of one tenant."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, SmallInteger, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Instant


class Source(Base):
    """Who speaks: how to verify and normalise what arrives at ``/webhooks/{name}``."""

    __tablename__ = "source"
    __table_args__ = (CheckConstraint("weight BETWEEN 1 AND 100", name="weight"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    """Unique for ever: a removed source keeps its row, so that its events keep their name."""
    kind: Mapped[str] = mapped_column(Text)
    config: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    secrets: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """At most two of ``{"sealed": Fernet token, "until": RFC 3339 time or null}``, the newest first."""
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    revision: Mapped[int] = mapped_column(server_default=text("1"))
    """Grows with every change; an event is stored only under the revision that it was verified with."""
    limit_per_s: Mapped[float | None]
    """How many events it may send a second; null as the settings say."""
    limit_burst: Mapped[int | None]
    weight: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    """Its share of a lane that several sources want, beside the others' weights."""
    created_at: Mapped[Instant] = mapped_column(server_default=func.now())
    updated_at: Mapped[Instant] = mapped_column(server_default=func.now())
    leaving_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When its sender said that it leaves (an uninstalled app); it is disabled after a grace period."""
    removed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
