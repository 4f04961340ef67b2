"""Owns store: verified events become rows, all that are in flight in one go, duplicates recognised by constraint."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson
from sqlalchemy import text

from app.db.pipeline import Executor
from app.db.recordset import packed
from app.handlers import handler_for
from app.inbox import raw
from app.inbox.normalform import normal_form
from app.inbox.prepare import NewEvent
from app.models import Lane, Outcome, Status


class StoreResult(Enum):
    """What became of one event in the store."""

    NEW = "NEW"
    DUPLICATE = "DUPLICATE"
    CONFLICT = "CONFLICT"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    """The source was changed since the event was verified: verify again."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer to one event: itself, or the first one with its key."""

    kept: StoreResult
    id: uuid.UUID
    status: Status
    outcome: Outcome | None
    lane: Lane
    priority: int = 0
    publish: bool = False
    """Whether the caller is to publish it: its lane's window is open."""


class EntangledKeys(Exception):  # noqa: N818  # named for the fact; no answer to anybody
    """Two events of one group each have a key that the other needs: store them singly."""


# One row of event_key for each key, in key order, so that concurrent groups never deadlock. A source that was changed
# or disabled since the verification gets no key and so no event. An event is new if it won every key it has. OFFSET 0
# makes the planner look up one source after another, whatever its figures say.
_STORE = text(f"""
WITH won AS (
    INSERT INTO event_key (source_id, digest, event_id, fingerprint, lane)
    SELECT k.source_id, k.digest, k.event_id, k.fingerprint, k.lane
    FROM json_to_recordset(CAST(:key_rows AS json))
         AS k(source_id int, revision int, digest bytea, event_id uuid, fingerprint bytea, lane smallint,
              while_disabled boolean)
    CROSS JOIN LATERAL (
        SELECT FROM source s
        WHERE s.id = k.source_id AND s.revision = k.revision AND (s.enabled OR k.while_disabled)
          AND s.removed_at IS NULL OFFSET 0) s
    ORDER BY k.source_id, k.digest, k.event_id
    ON CONFLICT DO NOTHING
    RETURNING event_id),
wins AS (SELECT event_id, count(*) AS keys FROM won GROUP BY event_id)
INSERT INTO event (id, source_id, external_id, type, entity_type, entity_id, operation, version, version_text,
                   sequence, fingerprint, final, state, fact, payload, data_pointer, lane, priority, score,
                   reasons, status, outcome, error, received_at, dispatched_at, finished_at, due_at,
                   effective_at, expires_at, campaign, completeness, history, trace)
SELECT e.id, e.source_id, e.external_id, e.type, e.entity_type, e.entity_id, e.operation, e.version, e.version_text,
       e.sequence, e.fingerprint, e.final, e.state, e.fact, e.payload, e.data_pointer, e.lane, e.priority, e.score,
       e.reasons, CASE WHEN e.outcome IS NULL THEN {Status.PENDING:d} ELSE {Status.FAILED:d} END, e.outcome,
           e.error, e.received_at,
       CASE WHEN l.open AND e.outcome IS NULL AND coalesce(e.effective_at <= now(), true) THEN now() END,
       CASE WHEN e.outcome IS NOT NULL THEN now() END, greatest(now(), e.effective_at), e.effective_at, e.expires_at,
       e.campaign, e.completeness, coalesce(e.history, '[]'), e.trace
FROM json_to_recordset(CAST(:rows AS json))
     AS e(id uuid, keys int, source_id int, external_id text, type text, entity_type text, entity_id text,
          operation smallint, version numeric, version_text text, sequence numeric, fingerprint bytea, final boolean,
          state boolean, fact boolean, payload text, data_pointer text, lane smallint, priority smallint,
          score smallint, reasons jsonb, outcome smallint, error text, received_at timestamptz,
          effective_at timestamptz, expires_at timestamptz, campaign text, completeness smallint, history jsonb,
          trace text)
JOIN wins w ON w.event_id = e.id AND w.keys = e.keys
JOIN lane l ON l.lane = e.lane
RETURNING id, dispatched_at IS NOT NULL
""")

_WON_KEYS = text("""
SELECT digest FROM event_key
WHERE source_id = :source_id AND digest = ANY(CAST(:digests AS bytea[])) AND event_id = :own
""")

_FIND_FIRST = text("""
SELECT k.digest, k.event_id, k.fingerprint, k.lane AS key_lane, e.status, e.outcome, e.lane
FROM event_key k LEFT JOIN event e ON e.id = k.event_id
WHERE k.source_id = :source_id AND k.digest = ANY(CAST(:digests AS bytea[]))
""")

# Finds the first events of plain duplicates, many at once.
_FIND_REPEATED = text("""
SELECT x.id, k.event_id, k.lane AS key_lane, e.status, e.outcome, e.lane
FROM unnest(CAST(:ids AS uuid[]), CAST(:source_ids AS int[]), CAST(:digests AS bytea[]),
            CAST(:fingerprints AS bytea[])) AS x(id, source_id, digest, fingerprint)
JOIN event_key k ON k.source_id = x.source_id AND k.digest = x.digest AND k.fingerprint = x.fingerprint
                AND k.event_id <> x.id
LEFT JOIN event e ON e.id = k.event_id
""")
_MANY = 5
"""With fewer, each is asked for by itself, which tells everything about it."""

_DROP_KEYS = text("""
DELETE FROM event_key WHERE source_id = :source_id AND digest = ANY(CAST(:digests AS bytea[])) AND event_id = :own
""")
_KEEP_CONFLICT = text("""
INSERT INTO event_conflict (event_id, fingerprint, payload, received_at, normal)
VALUES (:event_id, :fingerprint, :payload, :received_at, CAST(:normal AS jsonb)) ON CONFLICT DO NOTHING
""")

_ALIAS = text("""
UPDATE event_key SET event_id = :first WHERE source_id = :source_id AND digest = ANY(CAST(:digests AS bytea[]))
AND event_id = :own
""")


def store(session: Executor, events: Sequence[NewEvent]) -> list[Stored]:
    """Store a group of events in one statement a table and say of each, in order, what became of it.

    Raises:
        SQLAlchemyError: nothing of the group is stored.
    """
    group = {event.id for event in events}
    rows = {
        "key_rows": packed([key for event in events for key in _keys(event)]),
        "rows": packed([row_of(event) for event in events]),
    }
    direct = {event_id: publish for event_id, publish in session.execute(_STORE, rows)}  # noqa: C416  # of rows
    raw.keep(session, [event for event in events if event.id in direct])
    known = _repeated(session, [event for event in events if event.id not in direct])
    return [
        _new(event, publish=direct[event.id])
        if event.id in direct
        else known.get(event.id) or _first(session, event, group - direct.keys())
        for event in events
    ]


def _keys(event: NewEvent) -> Iterator[dict[str, Any]]:
    for digest in event.keys:
        yield {
            "source_id": event.source_id,
            "revision": event.revision,
            "digest": digest,
            "event_id": event.id,
            "fingerprint": event.fingerprint,
            "lane": event.decision.lane,
            "while_disabled": event.while_disabled,
        }


def row_of(event: NewEvent) -> dict[str, Any]:
    """Return an event's row, but for what the store decides."""
    incoming, decision, schedule = event.incoming, event.decision, event.schedule
    return {
        "id": event.id,
        "keys": len(event.keys),
        "source_id": event.source_id,
        "external_id": incoming.external_id,
        "type": incoming.type,
        "entity_type": incoming.entity_type,
        "entity_id": incoming.entity_id,
        "operation": incoming.operation,
        "version": event.version,
        "version_text": incoming.version.text if incoming.version else None,
        "sequence": incoming.sequence or 0,
        "fingerprint": event.fingerprint,
        "final": event.final,
        "state": incoming.state,
        "fact": handler_for(incoming.entity_type).is_fact(incoming.type) if incoming.fact is None else incoming.fact,
        "payload": event.payload,
        "data_pointer": incoming.data_pointer,
        "lane": decision.lane,
        "priority": decision.priority,
        "score": decision.score,
        "reasons": decision.reasons,
        "outcome": event.held and event.held.outcome,
        "error": event.held and event.held.reason,
        "received_at": event.received_at,
        "effective_at": schedule.effective_at,
        "expires_at": schedule.expires_at,
        "campaign": schedule.campaign,
        "completeness": incoming.completeness or None,
        "history": event.history,
        "trace": event.trace,
    }


def _new(event: NewEvent, *, publish: bool) -> Stored:
    status, outcome = (Status.PENDING, None) if event.held is None else (Status.FAILED, event.held.outcome)
    lane, priority = event.decision.lane, event.decision.priority
    return Stored(StoreResult.NEW, event.id, status, outcome, lane, priority, publish)


def _repeated(session: Executor, events: Sequence[NewEvent]) -> dict[uuid.UUID, Stored]:
    """Return, by their ids, the plain duplicates among many events, found in one go: a batch may come again whole."""
    plain = [event for event in events if len(event.keys) == 1]
    if len(plain) < _MANY:
        return {}
    values = {
        "ids": [str(event.id) for event in plain],
        "source_ids": [event.source_id for event in plain],
        "digests": [event.keys[0] for event in plain],
        "fingerprints": [event.fingerprint for event in plain],
    }
    found = session.execute(_FIND_REPEATED, values)
    return {event_id: _duplicate(StoreResult.DUPLICATE, first) for event_id, *first in found}


def _duplicate(kept: StoreResult, first: Sequence[Any]) -> Stored:
    """Return the answer that names the first event: (its id, its key's lane, its status, outcome and lane)."""
    event_id, key_lane, status, outcome, lane = first
    # The first one's row may have been purged; its key outlives it.
    purged = status is None
    return Stored(
        kept,
        event_id,
        Status.COMPLETED if purged else Status(status),
        None if outcome is None else Outcome(outcome),
        Lane(key_lane if purged else lane),
    )


def _first(session: Executor, event: NewEvent, unstored: set[uuid.UUID]) -> Stored:
    mine = {"own": event.id, "source_id": event.source_id}
    own = [bytes(digest) for (digest,) in session.execute(_WON_KEYS, {**mine, "digests": list(event.keys)})]
    lost = [digest for digest in event.keys if digest not in own]
    if not lost:
        # It is the second try of a commit whose answer was lost.
        return _new(event, publish=event.held is None)
    found = session.execute(_FIND_FIRST, {"source_id": event.source_id, "digests": lost}).all()
    if not found:
        return Stored(StoreResult.SOURCE_CHANGED, event.id, Status.PENDING, None, event.decision.lane)
    by_digest = {bytes(digest): first for digest, *first in found}
    first_id, fingerprint, *rest = by_digest[next(digest for digest in event.keys if digest in by_digest)]
    if first_id in unstored:
        raise EntangledKeys
    same = bytes(fingerprint) == event.fingerprint or event.keys[0] not in by_digest
    if same:
        # Known by its content under a new key, as may be: then the new key names the first one, too.
        session.execute(_ALIAS, {**mine, "first": first_id, "digests": own})
    else:
        # The key of a content must never lead to an event with another.
        session.execute(_DROP_KEYS, {**mine, "digests": own})
        conflict = {"event_id": first_id, "fingerprint": event.fingerprint, "payload": event.payload}
        normal = orjson.dumps(normal_form(event.incoming, event.decision)).decode()
        session.execute(_KEEP_CONFLICT, {**conflict, "received_at": event.received_at, "normal": normal})
    return _duplicate(StoreResult.DUPLICATE if same else StoreResult.CONFLICT, (first_id, *rest))
