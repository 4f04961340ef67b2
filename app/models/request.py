"""Owns what senders ask of us besides taking events: to leave, to erase, to list; and the record that it was done."""

import uuid
from datetime import datetime
from enum import IntEnum
from typing import Any

from sqlalchemy import DateTime, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Code, Instant


class RequestKind(IntEnum):
    """What a sender asks."""

    LEAVE = 1
    """The app or extension was uninstalled: disable the source."""
    ERASE_CUSTOMER = 2
    ERASE_SHOP = 3
    """Erase everything that this source ever sent."""
    LIST_CUSTOMER = 4
    """Say what is kept of a customer; a person does."""


class RequestStatus(IntEnum):
    """Where a request is."""

    WAITING = 0
    """For its grace period to end, or for a person."""
    CONFIRMED = 1
    DONE = 2
    DISMISSED = 3


class SenderRequest(Base):
    """One request; fenced by its event, so that it is recorded once."""

    __tablename__ = "sender_request"
    __table_args__ = (
        Index("sender_request_open_idx", "source_id", postgresql_where=text(f"status < {RequestStatus.DONE:d}")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[uuid.UUID] = mapped_column(unique=True)
    source_id: Mapped[int]
    kind: Mapped[RequestKind] = mapped_column(Code(RequestKind))
    subject: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """Whom it is about: ids, and a customer's email until the request is done."""
    status: Mapped[RequestStatus] = mapped_column(Code(RequestStatus), server_default=text("0"))
    received_at: Mapped[Instant]
    decided_by: Mapped[str | None] = mapped_column(Text)
    """Who confirmed or dismissed it; null where the grace period ended."""
    done_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    result: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """How much was erased."""
