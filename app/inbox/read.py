"""Owns what people see of the inbox: events with their timeline, entities, lanes. Reads only."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, select, text
from sqlalchemy.orm import Session

from app.db.pipeline import Executor
from app.errors import Rejected
from app.models import Entity, Event, Lane, Outcome, Source, Status, Unmapped


class EventUnknown(Rejected):
    """No event of this id."""


class EntityUnknown(Rejected):
    """No event about this entity was ever applied."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to list; None doesn't filter."""

    source: str | None = None
    lane: Lane | None = None
    status: Status | None = None
    outcome: Outcome | None = None
    type: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    source_ids: tuple[int, ...] | None = None
    """Of these sources only: those that whoever asks may see."""


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane as it is now; rates over the last minute, latency from acceptance to applied."""

    lane: Lane
    waiting: int
    scheduled: int
    in_flight: int
    oldest_due_age_s: float | None
    in_per_s: float
    out_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    workers: int
    open: bool
    dispatcher_alive: bool
    shed: int
    """Refused at the receiver in the last minute, and (next) in all."""
    shed_total: int


@dataclass(frozen=True, slots=True)
class LaneLiveness:
    """A lane as the dispatcher saw it a moment ago."""

    workers: int
    dispatcher_alive: bool
    oldest_due_age_s: float | None
    """How long its longest waiting due event has been due; None where none is, or no dispatcher says."""


def events(
    session: Session, wanted: EventFilter, *, after: tuple[datetime, uuid.UUID] | None, limit: int
) -> Sequence[tuple[Event, str]]:
    """Return at most ``limit`` events with their source's name, the newest first, those after a position."""
    statement: Select[tuple[Event, str]] = (
        select(Event, Source.name)
        .join(Source, Source.id == Event.source_id)
        .order_by(Event.received_at.desc(), Event.id.desc())
        .limit(limit)
    )
    if wanted.source is not None:
        statement = statement.where(Source.name == wanted.source)
    if wanted.source_ids is not None:
        statement = statement.where(Event.source_id.in_(wanted.source_ids))
    for column, value in (
        (Event.lane, wanted.lane),
        (Event.status, wanted.status),
        (Event.outcome, wanted.outcome),
        (Event.type, wanted.type),
        (Event.entity_type, wanted.entity_type),
        (Event.entity_id, wanted.entity_id),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if wanted.since is not None:
        statement = statement.where(Event.received_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(Event.received_at < wanted.until)
    if after is not None:
        received_at, event_id = after
        statement = statement.where(
            (Event.received_at < received_at) | and_(Event.received_at == received_at, Event.id < event_id)
        )
    return [(event, name) for event, name in session.execute(statement)]


def event(session: Session, event_id: uuid.UUID) -> tuple[Event, str]:
    """Return one event and its source's name.

    Raises:
        EventUnknown: there is none.
    """
    statement = select(Event, Source.name).join(Source, Source.id == Event.source_id).where(Event.id == event_id)
    row = session.execute(statement).one_or_none()
    if row is None:
        raise EventUnknown
    found, source = row
    return found, source


def headers(session: Session, event: Event) -> dict[str, Any] | None:
    """Return the headers that are kept of an unmapped event, redacted; None for any other."""
    raw = session.get(Unmapped, event.id) if event.outcome == Outcome.UNMAPPED else None
    return None if raw is None else raw.headers


def timeline(event: Event) -> list[dict[str, Any]]:
    """Return what happened to an event, in order: its usual steps and its history."""
    steps: list[dict[str, Any]] = [{"step": "received", "at": event.received_at}]
    if event.dispatched_at is not None:
        steps.append({"step": "dispatched", "at": event.dispatched_at})
    if event.parked_at is not None:
        steps.append({"step": "parked", "at": event.parked_at})
    if event.claimed_at is not None:
        steps.append({"step": "claimed", "at": event.claimed_at, "attempt": event.attempts})
    if event.finished_at is not None:
        outcome = event.outcome.name.lower() if event.outcome else None
        steps.append({"step": "finished", "at": event.finished_at, "outcome": outcome})
    for entry in event.history:
        at = entry.get("at")
        steps.append({**entry, "at": datetime.fromisoformat(at) if at else event.finished_at or event.received_at})
    return sorted(steps, key=lambda step: step["at"])


def entity(session: Session, source: str, entity_type: str, entity_id: str) -> Entity:
    """Return an entity at its newest version, or its tombstone.

    Raises:
        EntityUnknown: no event about it was ever applied.
    """
    if "\x00" in source + entity_type + entity_id:
        raise EntityUnknown  # PostgreSQL's text has no NUL, so no entity has one either
    statement = (
        select(Entity)
        .join(Source, Source.id == Entity.source_id)
        .where(Source.name == source, Entity.entity_type == entity_type, Entity.entity_id == entity_id)
    )
    found = session.scalars(statement).one_or_none()
    if found is None:
        raise EntityUnknown
    return found


# Shows each lane as it is now: what waits, what runs, how fast, and what was refused.
_LANES = text(f"""
WITH waiting AS (
    SELECT lane, count(*) FILTER (WHERE due_at <= now()) AS due, count(*) FILTER (WHERE due_at > now()) AS scheduled,
           extract(epoch FROM now() - min(greatest(due_at, received_at)) FILTER (WHERE due_at <= now())) AS oldest
    FROM event WHERE status = {Status.PENDING:d} GROUP BY lane),
running AS (SELECT lane, count(*) AS n FROM event WHERE status = {Status.PROCESSING:d} GROUP BY lane),
arrived AS (
    SELECT lane, count(*) AS n FROM event WHERE received_at > now() - interval '60 s' GROUP BY lane),
ended AS (
    SELECT lane, count(*) AS n,
           percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
               ORDER BY extract(epoch FROM finished_at - received_at) * 1000)
                   FILTER (WHERE outcome = {Outcome.APPLIED:d}) AS latency
    FROM event WHERE finished_at > now() - interval '60 s' GROUP BY lane),
refused AS (
    SELECT lane, sum(count) FILTER (WHERE at > now() - interval '60 s') AS lately,
           sum(count) FILTER (WHERE at = 'epoch') AS total
    FROM shed GROUP BY lane)
SELECT l.lane, coalesce(w.due, 0), coalesce(w.scheduled, 0), coalesce(r.n, 0), w.oldest, coalesce(a.n, 0) / 60.0,
       coalesce(e.n, 0) / 60.0, e.latency[1], e.latency[2], e.latency[3], l.workers, l.open,
       coalesce(l.dispatcher_seen_at > clock_timestamp() - interval '5 s', false),
       CAST(coalesce(s.lately, 0) AS bigint), CAST(coalesce(s.total, 0) AS bigint)
FROM lane l LEFT JOIN waiting w USING (lane) LEFT JOIN running r USING (lane) LEFT JOIN arrived a USING (lane)
     LEFT JOIN ended e USING (lane) LEFT JOIN refused s USING (lane)
ORDER BY l.lane
""")
_LIVENESS = text("""
SELECT lane, workers, coalesce(dispatcher_seen_at > clock_timestamp() - interval '5 s', false),
       CAST(extract(epoch FROM clock_timestamp() - oldest_due_at) AS float8)
FROM lane ORDER BY lane
""")


def lanes(session: Session) -> list[LaneView]:
    """Return each lane as it is now, the most urgent first."""
    return [LaneView(Lane(lane), *_numbers(figures)) for lane, *figures in session.execute(_LANES)]


def liveness(session: Executor) -> dict[Lane, LaneLiveness]:
    """Return each lane as the dispatcher saw it; what one wrote more than 5 s ago says nothing."""
    return {
        Lane(lane): LaneLiveness(workers, True, age) if alive else LaneLiveness(0, False, None)  # noqa: FBT003
        for lane, workers, alive, age in session.execute(_LIVENESS)
    }


def _numbers(values: Sequence[Any]) -> list[Any]:
    return [value if value is None or isinstance(value, (int, bool)) else round(float(value), 3) for value in values]
