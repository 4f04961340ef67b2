"""Owns the inbox tables: the event, its deduplication keys, and conflicts kept for a person."""

import uuid
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any

from sqlalchemy import DateTime, Index, LargeBinary, PrimaryKeyConstraint, SmallInteger, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.events.incoming import Completeness, Operation
from app.models.base import Base, Code, Exact, Instant


class Lane(IntEnum):
    """Urgency: one RabbitMQ queue each; a lower value is more urgent."""

    HIGH = 0
    MEDIUM = 1
    LOW = 2


class Status(IntEnum):
    """Where an event is."""

    PENDING = 0
    """Waiting: for a worker, a retry or its time."""
    PROCESSING = 1
    """Claimed by a worker under a lease."""
    COMPLETED = 2
    FAILED = 3
    """Ended without effect; kept for a person."""


class Outcome(IntEnum):
    """How an event ended."""

    APPLIED = 1
    STALE = 2
    """Something newer had been applied before."""
    SUPERSEDED = 3
    """Something newer was applied while this one waited."""
    TOMBSTONED = 4
    """Its entity is deleted."""
    EXPIRED = 5
    UNCHANGED = 6
    """The entity had this content already."""
    DEAD = 7
    """Every attempt failed, or trying can't help."""
    QUARANTINED = 8
    """Held for a person: its version lies in the future, or its source was disabled when it arrived."""
    UNMAPPED = 9
    """Its sender is verified, but what it says could not be read; kept as it came until it is released."""
    DUPLICATE = 10
    """Released, it proved to be another event that had arrived before."""


HELD = frozenset({Outcome.QUARANTINED, Outcome.UNMAPPED})
"""The outcomes of events that were never tried and wait for a person: they are released, not replayed."""


class Resolution(IntEnum):
    """What a person decided about a conflict."""

    FIRST = 1
    """The first one stands; the second is forgotten."""
    SECOND = 2
    """The second became an event of its own."""


_TIME = DateTime(timezone=True)


class Event(Base):
    """One accepted fact."""

    __tablename__ = "event"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """UUIDv7 (RFC 9562): in order of arrival, so that the index grows at its end."""
    source_id: Mapped[int]
    """No foreign key: a source row is never deleted, and the check would lock it once for every event."""
    external_id: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    entity_type: Mapped[str] = mapped_column(Text)
    entity_id: Mapped[str] = mapped_column(Text)
    operation: Mapped[Operation] = mapped_column(Code(Operation))
    version: Mapped[Decimal] = mapped_column(Exact)
    """The order on the sender's clock; the arrival where the sender gives none."""
    version_text: Mapped[str | None] = mapped_column(Text)
    sequence: Mapped[Decimal] = mapped_column(Exact, server_default=text("0"))
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    final: Mapped[bool] = mapped_column(server_default=text("false"))
    """A delete that nothing can lift."""
    state: Mapped[bool]
    """Last write wins."""
    fact: Mapped[bool]
    """Exactly once."""
    payload: Mapped[str] = mapped_column(Text)
    """Canonical JSON, redacted. Text, since jsonb can't hold an escaped NUL."""
    data_pointer: Mapped[str] = mapped_column(Text, server_default=text("''"))
    campaign: Mapped[str | None] = mapped_column(Text)
    """The sender's id of the campaign that this event belongs to, if its data names one."""
    lane: Mapped[Lane] = mapped_column(Code(Lane))
    priority: Mapped[int] = mapped_column(SmallInteger)
    score: Mapped[int | None] = mapped_column(SmallInteger)
    """Of the campaign matrix, 0 to 100; null where it says nothing about the event."""
    promoted: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """How far its deadline has lifted it: 0 not, 1 to the front of its lane, 2 one lane up."""
    reasons: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    status: Mapped[Status] = mapped_column(Code(Status), server_default=text("0"))
    outcome: Mapped[Outcome | None] = mapped_column(Code(Outcome))
    error: Mapped[str | None] = mapped_column(Text)
    received_at: Mapped[Instant]
    effective_at: Mapped[datetime | None] = mapped_column(_TIME)
    """Not to be applied before."""
    expires_at: Mapped[datetime | None] = mapped_column(_TIME)
    """Not to be applied from then on."""
    due_at: Mapped[Instant] = mapped_column(server_default=func.now())
    dispatched_at: Mapped[datetime | None] = mapped_column(_TIME)
    dispatches: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    generation: Mapped[int] = mapped_column(server_default=text("0"))
    claim_token: Mapped[uuid.UUID | None]
    claimed_at: Mapped[datetime | None] = mapped_column(_TIME)
    lease_until: Mapped[datetime | None] = mapped_column(_TIME)
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    parked_at: Mapped[datetime | None] = mapped_column(_TIME)
    finished_at: Mapped[datetime | None] = mapped_column(_TIME)
    history: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """What happened besides the usual steps, which have columns of their own."""
    completeness: Mapped[Completeness | None] = mapped_column(Code(Completeness))
    """How much of the entity the data describes; null is everything."""
    trace: Mapped[str | None] = mapped_column(Text)
    """The W3C context of the request's trace, where that is sampled: all that happens to the event goes on in it."""

    __table_args__ = (
        Index(
            "event_fair_idx",
            "lane",
            "source_id",
            text("priority DESC"),
            "due_at",
            postgresql_where=text(f"status = {Status.PENDING:d} AND dispatched_at IS NULL"),
        ),
        Index(
            "event_out_idx",
            "lane",
            "dispatched_at",
            postgresql_where=text(f"status = {Status.PENDING:d} AND dispatched_at IS NOT NULL"),
        ),
        # "+ 0" makes its condition one that no other index meets, and theirs one that it doesn't: planned on a table
        # where next to nothing waits, either would pass for as good as the other, and read a whole backlog later.
        Index(
            "event_lane_due_idx", "lane", "due_at", postgresql_where=text("status + 0 = 0 AND dispatched_at IS NULL")
        ),
        Index(
            "event_expires_idx",
            "promoted",
            "expires_at",
            postgresql_where=text(f"status = {Status.PENDING:d} AND expires_at IS NOT NULL"),
        ),
        Index(
            "event_campaign_idx",
            "source_id",
            "campaign",
            "promoted",
            postgresql_where=text(f"status = {Status.PENDING:d} AND campaign IS NOT NULL"),
        ),
        Index("event_lease_idx", "lease_until", postgresql_where=text(f"status = {Status.PROCESSING:d}")),
        Index(
            "event_waiting_idx",
            "source_id",
            "entity_type",
            "entity_id",
            postgresql_where=text(f"status = {Status.PENDING:d} AND NOT fact"),
        ),
        Index(
            "event_parked_idx",
            "source_id",
            "entity_type",
            "entity_id",
            postgresql_where=text("parked_at IS NOT NULL"),
        ),
        Index("event_entity_idx", "source_id", "entity_type", "entity_id", "received_at"),
        Index("event_received_idx", text("received_at DESC"), text("id DESC")),
        Index("event_finished_idx", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )


class Unmapped(Base):
    """What arrived of an unmapped event, so that it can be mapped again; deleted when it is."""

    __tablename__ = "unmapped"
    __table_args__ = (Index("unmapped_source_idx", "source_id", "event_id"),)

    event_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    source_id: Mapped[int]
    headers: Mapped[dict[str, Any]]
    """Those that say something about the event, redacted."""
    body: Mapped[bytes] = mapped_column(LargeBinary)
    """As it was received, but for the source's secrets."""
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of the body as it was received."""


class EventKey(Base):
    """One idempotency key of one event; outlives the payload."""

    __tablename__ = "event_key"
    __table_args__ = (
        PrimaryKeyConstraint("source_id", "digest"),
        Index("event_key_seen_at_idx", "seen_at", postgresql_using="brin"),
    )

    source_id: Mapped[int]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of the key: any length of key costs 32 bytes."""
    event_id: Mapped[uuid.UUID]
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    lane: Mapped[Lane] = mapped_column(Code(Lane))
    seen_at: Mapped[Instant] = mapped_column(server_default=func.now())


class EventConflict(Base):
    """The same key with another content: the first stands, this one waits for a person."""

    __tablename__ = "event_conflict"
    __table_args__ = (
        PrimaryKeyConstraint("event_id", "fingerprint"),
        Index("event_conflict_open_idx", "received_at", postgresql_where=text("resolution IS NULL")),
    )

    event_id: Mapped[uuid.UUID]
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    payload: Mapped[str] = mapped_column(Text)
    received_at: Mapped[Instant]
    normal: Mapped[dict[str, Any] | None]
    """What it would be stored as; null where a release before kept it."""
    resolution: Mapped[Resolution | None] = mapped_column(Code(Resolution))
    resolved_at: Mapped[datetime | None] = mapped_column(_TIME)
    resolved_by: Mapped[str | None] = mapped_column(Text)
