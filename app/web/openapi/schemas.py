"""Schemas of the admin API's answers, for the OpenAPI document; ``app.reporting.serializers`` makes the answers."""

from datetime import datetime
from functools import cache
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, create_model
from sqlalchemy import Boolean, DateTime, Integer

from app.models import Lead
from app.reporting.typed_rows import Listing

LaneName = Literal["high", "medium", "low"]
StatusName = Literal["pending", "processing", "completed", "failed"]
OutcomeName = Literal[
    "applied",
    "stale",
    "superseded",
    "tombstoned",
    "expired",
    "unchanged",
    "dead",
    "quarantined",
    "unmapped",
    "duplicate",
]
ScopeName = Literal["read", "write", "admin"]
ANY_OBJECT = {"type": "object"}


class Shape(BaseModel):
    """An answer's form; another part may add fields to it."""

    model_config = ConfigDict(extra="allow")


class Problem(Shape):
    """An error (RFC 9457); ``type`` leads to what it means and what to do."""

    type: str
    title: str
    status: int
    detail: str


class Accepted(Shape):
    """What became of one event that was sent."""

    id: UUID
    status: StatusName
    outcome: OutcomeName | None
    lane: LaneName | None
    """Null where the event is unmapped."""


class AcceptedOfBatch(Accepted):
    """What became of one event of a batch."""

    kept: Literal["new", "duplicate", "conflict"]


class AcceptedBatch(Shape):
    """What became of a batch, in the order of the request."""

    accepted: int
    duplicates: int
    conflicts: int
    events: list[AcceptedOfBatch]


class Event(Shape):
    """One event, as a line of a list."""

    id: UUID
    source: str
    external_id: str
    type: str
    entity_type: str
    entity_id: str
    operation: Literal["create", "update", "delete"]
    version: str | None
    lane: LaneName | None
    """Null where the event is unmapped."""
    priority: int
    score: int | None
    status: StatusName
    outcome: OutcomeName | None
    attempts: int
    error: str | None
    received_at: datetime
    finished_at: datetime | None


class EventInFull(Event):
    """One event with its reasons, timeline and redacted payload."""

    reasons: list[Any]
    due_at: datetime
    effective_at: datetime | None
    expires_at: datetime | None
    campaign: str | None
    timeline: list[dict[str, Any]]
    headers: dict[str, str] | None
    payload: Any


class Entity(Shape):
    """An entity at its newest version, or its tombstone."""

    source: str
    type: str
    id: str
    version: str | None
    deleted: bool
    data: Any
    event_id: UUID
    applied_at: datetime


class Latency(Shape):
    """Milliseconds from acceptance to applied, in the last minute."""

    p50: float | None
    p95: float | None
    p99: float | None


class Lane(Shape):
    """One lane as it is now."""

    lane: LaneName
    waiting: int
    scheduled: int
    in_flight: int
    oldest_due_age_s: float | None
    in_per_s: float
    out_per_s: float
    latency_ms: Latency
    shed: int
    shed_total: int


class Limit(Shape):
    """How many events a source may send."""

    per_s: float
    burst: int


class SecretShown(Shape):
    """That there is a secret, and until when; never the secret."""

    until: datetime | None


class Source(Shape):
    """A source, without its secrets."""

    name: str
    kind: str
    path: str
    config: dict[str, Any]
    enabled: bool
    limit: Limit | None
    revision: int
    weight: int
    secrets: list[SecretShown]
    created_at: datetime
    updated_at: datetime


class Key(Shape):
    """A key's row; the key itself is nowhere."""

    id: int
    name: str
    scope: ScopeName
    sources: list[str] | None = Field(description="The only sources that it may see or touch; null: all of them.")
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKey(Key):
    """A new key, shown this once."""

    key: str


class AuditEntry(Shape):
    """One thing that somebody did."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class SenderRequest(Shape):
    """What a sender asked besides taking events, and what became of it."""

    id: int
    source: str
    kind: Literal["leave", "erase customer", "erase shop", "list customer"]
    status: Literal["waiting", "confirmed", "done", "dismissed"]
    subject: dict[str, Any] = Field(description="Whom it is about: ids, and a customer's email until it is done.")
    event_id: UUID
    received_at: datetime
    decided_by: str | None = Field(description="Who confirmed or dismissed it; null where its grace ended.")
    done_at: datetime | None
    result: dict[str, Any] = Field(description="How much was erased.")


class HeldEntity(Shape):
    """One entity that is kept of a customer."""

    type: str
    id: str
    data: Any


class HeldEvent(Shape):
    """One event that brought something that is kept of a customer."""

    id: UUID
    type: str
    received_at: datetime


class Forecast(Shape):
    """What a replay would do."""

    dry_run: Literal[True]
    count: int
    would: dict[str, int]


class Replay(Shape):
    """A replay of history, and how far it has come."""

    id: UUID
    state: str
    filter: dict[str, Any]
    count: int
    replayed: int
    per_s: int
    requested_by: str
    created_at: datetime
    finished_at: datetime | None


class Moved(Shape):
    """How many waiting events have moved, or would."""

    dry_run: bool
    count: int


class Policy(Shape):
    """One version of the priority policy."""

    version: int
    state: Literal["live", "candidate", "retired"]
    author: str
    note: str
    created_at: datetime | None
    live_from: datetime | None
    policy: dict[str, Any]
    candidate: dict[str, Any] | None


class Explained(Shape):
    """Where an event goes, and why."""

    policy: Any
    lane: LaneName
    priority: int
    score: int | None
    rule: Any
    reasons: list[Any]
    factors: list[dict[str, Any]]
    rules: list[dict[str, Any]]


class Health(Shape):
    """How things are."""

    status: Literal["ok", "degraded", "unavailable"]


@cache
def page(item: type[BaseModel]) -> type[BaseModel]:
    """Return the form of a list of something."""
    return create_model(
        f"{item.__name__}List",
        __base__=Shape,
        __doc__=f"One page; `next` is the cursor of the next one, null on the last ({item.__name__}).",
        items=(list[item], ...),  # type: ignore[valid-type]  # made here
        next=(str | None, ...),
    )


def typed(name: str, listing: Listing) -> type[BaseModel]:
    """Return the form of a typed row, from its table's columns."""
    fields: dict[str, Any] = {"source": (str, ...), "entity_type": (str, ...), "entity_id": (str, ...)}
    fields |= {"event_id": (UUID, ...)} if listing.model is Lead else {"key": (str, ...)}
    for column in listing.columns:
        kind = listing.table.columns[column]
        plain = {Boolean: bool, DateTime: datetime, Integer: int}.get(type(kind.type), str)
        fields[column] = (plain | None if kind.nullable else plain, ...)
    made: type[BaseModel] = create_model(
        f"Row{name.capitalize()}", __base__=Shape, __doc__=f"One of the {name}.", **fields
    )
    return made
