"""Mapping unmapped events again, by today's code and options, under their own ids and with their own arrival."""

import uuid
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db.recordset import packed
from app.events.incoming import Incoming
from app.inbox.mapper import UNREADABLE, Mapper
from app.inbox.prepare import NewEvent
from app.inbox.store import StoreResult, row_of, store
from app.inbox.wake import wake
from app.models import Outcome, Status
from app.sources.kinds import Request
from app.sources.kinds.read import read


class StillUnmapped(Exception):  # noqa: N818  # named for the fact; no answer to anybody
    """The event still can't be read."""


# The row of an event, and what arrived.
_RAW = text("""
SELECT e.received_at, u.headers, u.body, u.digest FROM event e LEFT JOIN unmapped u ON u.event_id = e.id
WHERE e.id = :id FOR UPDATE OF e
""")
_TAKE_KEYS = text("""
INSERT INTO event_key (source_id, digest, event_id, fingerprint, lane)
SELECT :source_id, digest, :id, :fingerprint, :lane FROM unnest(CAST(:digests AS bytea[])) AS digest
ORDER BY digest ON CONFLICT DO NOTHING
""")
_HOLDERS = text("""
SELECT digest, event_id, fingerprint FROM event_key
WHERE source_id = :source_id AND digest = ANY(CAST(:digests AS bytea[])) AND event_id <> :id
""")
_GIVE_KEYS = text("""
UPDATE event_key SET event_id = :first
WHERE source_id = :source_id AND digest = ANY(CAST(:digests AS bytea[])) AND event_id = :id
""")
_COLUMNS = {
    "external_id": "text",
    "type": "text",
    "entity_type": "text",
    "entity_id": "text",
    "operation": "smallint",
    "version": "numeric",
    "version_text": "text",
    "sequence": "numeric",
    "fingerprint": "bytea",
    "final": "boolean",
    "state": "boolean",
    "fact": "boolean",
    "payload": "text",
    "data_pointer": "text",
    "lane": "smallint",
    "priority": "smallint",
    "score": "smallint",
    "reasons": "jsonb",
    "campaign": "text",
    "effective_at": "timestamptz",
    "expires_at": "timestamptz",
    "completeness": "smallint",
    "outcome": "smallint",
    "error": "text",
}
# Makes the row of an unmapped event the event that it was read as.
_BECOME = text(f"""
UPDATE event SET {", ".join(f"{name} = x.{name}" for name in _COLUMNS)},
       status = CASE WHEN x.outcome IS NULL THEN {Status.PENDING:d} ELSE {Status.FAILED:d} END,
       finished_at = CASE WHEN x.outcome IS NOT NULL THEN clock_timestamp() END,
       dispatched_at = NULL, dispatches = 0, attempts = 0, due_at = greatest(now(), x.effective_at),
       history = event.history || coalesce(x.history, '[]') || CAST(:released AS jsonb)
FROM json_to_recordset(CAST(:rows AS json))
     AS x({", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())}, history jsonb)
WHERE event.id = :id
""")
_END = text(f"""
UPDATE event SET status = {Status.COMPLETED:d}, outcome = :outcome, error = NULL, finished_at = clock_timestamp(),
       state = false, fact = false,
       history = history || CAST(:released AS jsonb)
WHERE id = :id
""")
# Each reason once: a release of thousands is tried again and again.
_KEEP = text("""
UPDATE event SET error = :reason,
       history = history || jsonb_set(CAST(:released AS jsonb), '{0,before}', coalesce(to_jsonb(error), 'null'))
WHERE id = :id AND error IS DISTINCT FROM :reason
""")
_FORGET_RAW = text("DELETE FROM unmapped WHERE event_id = :id")
_COME_BEFORE = text("UPDATE event SET dispatched_at = NULL WHERE id = ANY(CAST(:ids AS uuid[]))")


@dataclass(frozen=True, slots=True)
class Mapped:
    """What became of an unmapped event."""

    events: tuple[uuid.UUID, ...]
    """Those that it became; the first has its id. Empty where it ended."""
    type: str
    entity_type: str
    outcome: Outcome | None = None
    """How it ended: as a duplicate, or as unchanged where a rule says to ignore it; quarantined once more."""


def read_again(session: Session, event_id: uuid.UUID, mapper: Mapper) -> list[Incoming]:
    """Return what an unmapped event says by today's code and options; its row is locked.

    Raises:
        StillUnmapped: it still can't be read, or its body is gone.
    """
    row = session.execute(_RAW, {"id": event_id}).one()
    if row.body is None:
        raise StillUnmapped("its body has been erased")
    kind, at = mapper.kind, row.received_at.timestamp()
    request = Request(row.headers, bytes(row.body), at, digest=bytes(row.digest))
    try:
        # One delivery: a batch was taken apart when it arrived.
        return list(read(kind, request, mapper.secrets, mapper.config, mapper.source).events)
    except UNREADABLE as error:
        raise StillUnmapped(str(error)) from error


def map_again(session: Session, event_id: uuid.UUID, mapper: Mapper, *, by: str) -> Mapped:
    """Map an unmapped event again; what it says then goes through the same keys and gates as any other event.

    A body that describes several entities becomes several events, all or none.

    Raises:
        StillUnmapped: it still can't be read, or an event with another content has its key. What this has changed is
            to be rolled back.
    """
    incoming = read_again(session, event_id, mapper)
    received_at = session.execute(_RAW, {"id": event_id}).one().received_at.timestamp()
    released: dict[str, Any] = {"step": "released", "by": by}
    if not incoming:
        _end(session, event_id, Outcome.UNCHANGED, {**released, "ignored": True})
        return Mapped((), "", "", Outcome.UNCHANGED)
    try:
        events = mapper.of_one(incoming, received_at, event_id)
    except UNREADABLE as error:
        raise StillUnmapped(str(error)) from error
    first, others = events[0], [replace(event, while_disabled=True) for event in events[1:]]
    outcome = _become(session, first, released)
    if others:
        stored = store(session, others)
        if taken := [one for one in stored if one.kept is StoreResult.CONFLICT]:
            raise StillUnmapped(_taken(taken[0].id))
        session.execute(_COME_BEFORE, {"ids": [str(one.id) for one in stored if one.publish]})
    session.execute(_FORGET_RAW, {"id": event_id})
    wake(session)
    return Mapped(tuple(event.id for event in events), first.incoming.type, first.incoming.entity_type, outcome)


def keep_unmapped(session: Session, event_id: uuid.UUID, reason: str, *, by: str) -> None:
    """Note why an event still can't be read, where the reason is another than before."""
    released = _entry(session, {"step": "release failed", "by": by, "error": reason, "before": None})
    session.execute(_KEEP, {"id": event_id, "reason": reason, "released": released})


def _become(session: Session, event: NewEvent, released: dict[str, Any]) -> Outcome | None:
    """Make a row the event that it was read as, or the duplicate of the one that has its key."""
    keys = {"source_id": event.source_id, "digests": list(event.keys), "id": event.id}
    session.execute(_TAKE_KEYS, {**keys, "fingerprint": event.fingerprint, "lane": int(event.decision.lane)})
    found = session.execute(_HOLDERS, keys)
    if holders := {bytes(digest): (holder, fingerprint) for digest, holder, fingerprint in found}:
        holder, fingerprint = next(holders[key] for key in event.keys if key in holders)
        if event.keys[0] in holders and bytes(fingerprint) != event.fingerprint:
            raise StillUnmapped(_taken(holder))
        session.execute(_GIVE_KEYS, {**keys, "first": holder})
        _end(session, event.id, Outcome.DUPLICATE, {**released, "duplicate of": str(holder)})
        return Outcome.DUPLICATE
    session.execute(_BECOME, {"id": event.id, "rows": packed([row_of(event)]), "released": _entry(session, released)})
    return event.held.outcome if event.held else None


def _taken(holder: uuid.UUID) -> str:
    return f"another event has its key, and another content: {holder}"


def _end(session: Session, event_id: uuid.UUID, outcome: Outcome, released: dict[str, Any]) -> None:
    values = {"id": event_id, "outcome": int(outcome), "released": _entry(session, released)}
    session.execute(_END, values)
    session.execute(_FORGET_RAW, {"id": event_id})


def _entry(session: Session, released: dict[str, Any]) -> str:
    at = session.execute(text("SELECT clock_timestamp()")).scalar_one()
    return orjson.dumps([{**released, "at": at}]).decode()
