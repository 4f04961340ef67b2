"""Owns replays of history: which ended events, what would become of them, and running them again behind live work.

A replay is a row: asking twice under one id replays once, and after a crash it goes on where it stopped. The
dispatcher releases a batch a second, and only while nothing live waits; the version gate judges each event anew.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.db.pipeline import Executor
from app.errors import FieldInvalid, Rejected
from app.events.incoming import Operation
from app.inbox.read import EventFilter
from app.models import Lane, Outcome, Replay, ReplayState, Status

PER_S, MOST_PER_S = 100, 1_000
"""Events that a replay releases a second: where nothing is said, and at the most."""
_LOOKED_AT = 5_000
"""Rows that one step looks at: what a sparse filter may cost the dispatcher."""


class ReplayUnknown(Rejected):
    """No replay of this id."""


class ReplayDiffers(Rejected):
    """A replay of this id was asked for with another filter."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would become of the events that match, as things stand."""

    count: int
    apply: int
    stale: int
    """Something newer stands, or is among them."""
    duplicate: int
    """It stands already: it would end unchanged."""
    tombstoned: int


# What a filter may name, as SQL; each only where it is given.
_CONDITIONS = {
    "source": "e.source_id = (SELECT id FROM source WHERE name = :source)",
    "lane": "e.lane = :lane",
    "status": "e.status = :status",
    "outcome": "e.outcome = :outcome",
    "type": "e.type = :type",
    "entity_type": "e.entity_type = :entity_type",
    "entity_id": "e.entity_id = :entity_id",
    "since": "e.received_at >= CAST(:since AS timestamptz)",
    "until": "e.received_at < CAST(:until AS timestamptz)",
}
_ENDED = f"""e.status IN ({Status.COMPLETED:d}, {Status.FAILED:d})
      AND e.outcome NOT IN ({Outcome.QUARANTINED:d}, {Outcome.UNMAPPED:d}) AND (e.state OR e.fact)"""
_ENUMS = {"lane": Lane, "status": Status, "outcome": Outcome}
# app.handlers.version_gate in SQL, for counting only: what is applied, the gate alone decides. Held together by
# test_a_dry_run_judges_as_the_gate_does.
_FORECAST = f"""
WITH wanted AS (
    SELECT e.*, row_number() OVER (PARTITION BY e.source_id, e.entity_type, e.entity_id
               ORDER BY e.final DESC, e.version DESC, e.sequence DESC, e.operation DESC, e.fingerprint DESC) AS place
    FROM event e WHERE {{ended}} AND {{where}}),
judged AS (
    SELECT w.place, w.fact AND f.event_id IS NULL AS new_fact, CASE
        WHEN n.entity_id IS NULL THEN 'apply'
        WHEN (w.version, w.sequence, w.operation, w.fingerprint) = (n.version, n.sequence, n.operation, n.fingerprint)
             AND w.final = n.final THEN 'duplicate'
        WHEN n.final AND w.operation <> {Operation.DELETE:d} THEN 'tombstoned'
        WHEN n.final <> w.final THEN CASE WHEN w.final THEN 'apply' ELSE 'duplicate' END
        WHEN (w.version, w.sequence, w.operation, w.fingerprint) < (n.version, n.sequence, n.operation, n.fingerprint)
             THEN CASE WHEN n.data IS NOT NULL OR w.operation = {Operation.DELETE:d} THEN 'stale' ELSE 'tombstoned' END
        ELSE 'apply' END AS state
    FROM wanted w
    LEFT JOIN fact f ON f.event_id = w.id
    LEFT JOIN entity n ON (n.source_id, n.entity_type, n.entity_id) = (w.source_id, w.entity_type, w.entity_id))
SELECT CASE WHEN new_fact THEN 'apply' WHEN state = 'apply' AND place > 1 THEN 'stale' ELSE state END, count(*)
FROM judged GROUP BY 1
"""
_ASK = text("""
INSERT INTO replay (id, wanted, per_s, requested_by, matching)
VALUES (:id, CAST(:wanted AS jsonb), :per_s, :by, :matching) ON CONFLICT DO NOTHING
""")
_RUNNING = text(f"""
SELECT id, wanted, per_s, created_at, position_at, position_id FROM replay
WHERE state = {ReplayState.RUNNING:d} ORDER BY created_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
""")
_OUT = text(f"""
SELECT count(*) FROM (SELECT 1 FROM event WHERE lane = {Lane.LOW:d} AND status = {Status.PENDING:d}
    AND dispatched_at IS NOT NULL LIMIT 1000) out
""")
# A walk in order of arrival. Who ended meanwhile takes part, who waits or runs is left alone.
_RELEASE = f"""
WITH looked AS (
    SELECT id, received_at FROM event
    WHERE received_at < :created_at {{behind}} ORDER BY received_at, id LIMIT :looked_at),
wanted AS (
    SELECT e.id, e.received_at FROM event e JOIN looked l ON l.id = e.id
    WHERE {{ended}} AND {{where}} ORDER BY e.received_at, e.id LIMIT :room),
released AS (
    UPDATE event e SET status = {Status.PENDING:d}, outcome = NULL, error = NULL, attempts = 0, dispatches = 0,
        dispatched_at = NULL,
           finished_at = NULL, claim_token = NULL, parked_at = NULL, due_at = now(), lane = {Lane.LOW:d}, priority = 0,
           history = history || jsonb_build_array(
               jsonb_build_object('step', 'finished', 'at', finished_at, 'outcome', CAST(:outcomes AS jsonb)
                                  -> CAST(outcome AS text), 'error', error),
               jsonb_build_object('step', 'replayed', 'at', clock_timestamp(), 'replay', CAST(:replay AS text),
                                  'lane before', CAST(:lanes AS jsonb) -> CAST(lane AS text)))
    WHERE id IN (SELECT id FROM wanted) AND CAST(status AS int) IN ({Status.COMPLETED:d}, {Status.FAILED:d})
    RETURNING id),
reached AS (
    SELECT received_at, id FROM wanted WHERE (SELECT count(*) FROM wanted) >= :room
    UNION ALL
    SELECT received_at, id FROM looked WHERE (SELECT count(*) FROM wanted) < :room
    ORDER BY received_at DESC, id DESC LIMIT 1)
SELECT (SELECT count(*) FROM released) AS released, (SELECT count(*) FROM wanted) AS found,
       (SELECT count(*) FROM looked) AS looked, r.received_at, r.id
FROM (VALUES (1)) one LEFT JOIN reached r ON true
"""
# Notes how far a replay has come, so that another process can go on there.
_ADVANCE = text(f"""
UPDATE replay SET replayed = replayed + :released, position_at = coalesce(:at, position_at),
       position_id = coalesce(CAST(:position AS uuid), position_id),
       state = CASE WHEN :done THEN {ReplayState.DONE:d} ELSE state END,
       finished_at = CASE WHEN :done THEN clock_timestamp() END
WHERE id = :id
""")


def forecast(session: Session, wanted: EventFilter) -> Forecast:
    """Count the ended events that match, by what would become of each.

    Raises:
        FieldInvalid: the filter names nothing, so it would mean everything.
    """
    given = as_json(wanted)
    statement = text(_FORECAST.format(ended=_ENDED, where=where(given)))
    counts: dict[str, int] = {fate: count for fate, count in session.execute(statement, given)}  # noqa: C416  # of rows
    return Forecast(sum(counts.values()), **{state: counts.get(state, 0) for state in _FATES})


_FATES = ("apply", "stale", "duplicate", "tombstoned")


def ask(session: Session, replay_id: uuid.UUID, wanted: EventFilter, *, per_s: int, by: str) -> Replay:
    """Ask for a replay; under an id that is known with the same filter, return that one.

    Raises:
        FieldInvalid: the filter names nothing.
        ReplayDiffers: the id is known with another filter.
    """
    given = as_json(wanted)
    known = session.get(Replay, replay_id)
    if known is None:
        values = {"id": replay_id, "wanted": orjson.dumps(given).decode(), "per_s": per_s, "by": by}
        session.execute(_ASK, {**values, "matching": forecast(session, wanted).count})
        known = session.get_one(Replay, replay_id, populate_existing=True)
    if known.wanted != given:
        raise ReplayDiffers
    return known


def find(session: Session, replay_id: uuid.UUID) -> Replay:
    """Return a replay.

    Raises:
        ReplayUnknown: there is none.
    """
    found = session.get(Replay, replay_id)
    if found is None:
        raise ReplayUnknown
    return found


def listed(session: Session, limit: int) -> Sequence[Replay]:
    """Return the newest replays."""
    return session.scalars(select(Replay).order_by(Replay.created_at.desc(), Replay.id).limit(limit)).all()


def stop(session: Session, replay_id: uuid.UUID) -> Replay:
    """Stop a replay: what it released already runs, nothing more is released.

    Raises:
        ReplayUnknown: there is none.
    """
    found = session.get(Replay, replay_id, with_for_update=True)
    if found is None:
        raise ReplayUnknown
    if found.state is ReplayState.RUNNING:
        found.state = ReplayState.STOPPED
    return found


def release(session: Executor) -> int:
    """Release the next batch of the oldest running replay; return how many events wait again.

    Call it once a second, while nothing live waits behind a window. What it released before comes first.
    """
    replay = session.execute(_RUNNING).one_or_none()
    if replay is None:
        return 0
    room = replay.per_s - session.execute(_OUT).scalar_one()
    if room <= 0:
        return 0
    behind = "AND (received_at, id) > (:position_at, CAST(:position_id AS uuid))" if replay.position_id else ""
    statement = text(_RELEASE.format(ended=_ENDED, where=where(replay.wanted), behind=behind))
    values = {
        **replay.wanted,
        "created_at": replay.created_at,
        "position_at": replay.position_at,
        "position_id": str(replay.position_id),
        "looked_at": _LOOKED_AT,
        "room": room,
        "replay": str(replay.id),
        "outcomes": _names(Outcome),
        "lanes": _names(Lane),
    }
    released, found, looked, at, position = session.execute(statement, values).one()
    done = found < room and looked < _LOOKED_AT
    values = {"id": replay.id, "released": released, "at": at, "position": position and str(position), "done": done}
    session.execute(_ADVANCE, values)
    return int(released)


def as_json(wanted: EventFilter) -> dict[str, Any]:
    """Return a filter as it is kept; enums as numbers, times as text.

    Raises:
        FieldInvalid: it names nothing.
    """
    given = {name: getattr(wanted, name) for name in _CONDITIONS if getattr(wanted, name) is not None}
    if not given:
        raise FieldInvalid("a replay needs a filter: without one it would mean every event there is")
    return {
        name: int(value) if name in _ENUMS else value.isoformat() if name in {"since", "until"} else value
        for name, value in given.items()
    }


def as_words(given: dict[str, Any]) -> dict[str, Any]:
    """Return a kept filter as people write it."""
    return {name: _ENUMS[name](value).name.lower() if name in _ENUMS else value for name, value in given.items()}


def where(given: dict[str, Any]) -> str:
    """Return the condition that a filter, as ``as_json`` writes it, makes of events ``e``."""
    return " AND ".join(_CONDITIONS[name] for name in given)


def _names(enum: type[Lane] | type[Outcome]) -> str:
    return orjson.dumps({str(int(member)): member.name.lower() for member in enum}).decode()
