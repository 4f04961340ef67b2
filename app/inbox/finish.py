"""Owns what ends a claim: the fence that lets exactly one worker write an event's outcome, and the outcome."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson
from sqlalchemy import TextClause, text

from app.db.pipeline import ASYNC_COMMIT, WITH_COMMIT, Executor
from app.db.recordset import packed
from app.errors import ClaimLost
from app.events.incoming import Completeness, Operation, StoredEvent
from app.handlers.apply import Applied, Fenced
from app.handlers.version_gate import Position, State
from app.inbox.claim import Claim
from app.inbox.deadlines import EXPIRED
from app.models import Outcome, Status

# What a sampled event's spans tell; the others ask for none of it.
TRACED = """json_build_object(
    'context', trace, 'queued_at', extract(epoch FROM greatest(dispatched_at, due_at)),
    'lane', CASE lane WHEN 0 THEN 'high' WHEN 1 THEN 'medium' ELSE 'low' END, 'source_id', source_id,
    'attempts', attempts, 'dispatches', dispatches, 'generation', generation,
    'replays', jsonb_array_length(jsonb_path_query_array(history, '$[*] ? (@.step == "replayed")')))"""
# The events by id, each with what stands for its entity, all locked, in the entities' order: batches never deadlock.
# LATERAL makes the planner look up one entity after another, whatever its figures say.
_FENCE = text(f"""
SELECT mine.*, entity.*, mine.fact AND EXISTS (SELECT 1 FROM fact WHERE fact.event_id = mine.id) AS fact_known
FROM (SELECT id, source_id, entity_type, entity_id, type, operation, version, version_text, sequence, fingerprint,
             final, state, fact, payload, data_pointer, received_at, attempts,
             coalesce(completeness, 0) AS completeness,
             {EXPIRED} AS expired, CASE WHEN trace IS NOT NULL THEN {TRACED} END AS traced
      FROM event WHERE id = ANY(CAST(:ids AS uuid[])) AND claim_token = :token
      ORDER BY source_id, entity_type, entity_id, id FOR UPDATE) mine
LEFT JOIN LATERAL (
    SELECT e.version AS old_version, e.sequence AS old_sequence, e.operation AS old_operation,
           e.fingerprint AS old_fingerprint, e.final AS old_final, e.data AS old_data, e.event_id AS old_event_id
    FROM entity e
    WHERE e.source_id = mine.source_id AND e.entity_type = mine.entity_type AND e.entity_id = mine.entity_id
    FOR UPDATE) entity ON true
""")
_EVENT = tuple(field.name for field in fields(StoredEvent))
# Like everything that ends or returns a claim, it binds to the token, which whoever ends or takes the claim removes: a
# worker that lost its claim changes nothing.
_FINISH = text("""
UPDATE event SET status = :status, outcome = :outcome, finished_at = clock_timestamp(), claim_token = NULL,
       lease_until = NULL, error = :error, history = history || CAST(:notes AS jsonb)
WHERE id = :id AND claim_token = :token
""")
# What is older than the newest one ends with it: superseded when that is applied, and judged alike when it is stale
# or tombstoned, for whatever that met is newer than these, too. A final delete is never ended by another, and an
# expired event (5) ends none: it never took effect. One that
# somebody else holds at this moment isn't waited for: its own turn ends it.
_FINISH_WITH_OLDER = text(f"""
WITH ended AS (
    SELECT * FROM json_to_recordset(CAST(:ended AS json))
         AS x(id uuid, outcome smallint, older_outcome smallint, notes jsonb, source_id int, entity_type text,
              entity_id text, version numeric, sequence numeric, operation smallint, fingerprint bytea)),
older AS (
    UPDATE event SET status = {Status.COMPLETED:d}, finished_at = clock_timestamp(), parked_at = NULL,
           outcome = CASE WHEN x.older_outcome = {Outcome.TOMBSTONED:d} AND event.operation = {Operation.DELETE:d}
                          THEN {Outcome.STALE:d} ELSE x.older_outcome END,
           history = history || jsonb_build_array(jsonb_build_object(
               'step', 'ended with a newer one', 'by', CAST(x.id AS text),
               'tie', (event.version, event.sequence) = (x.version, x.sequence)))
    FROM (SELECT ended.*, waits.id AS older_id FROM ended CROSS JOIN LATERAL (
              SELECT e.id FROM event e
              WHERE e.source_id = ended.source_id AND e.entity_type = ended.entity_type
                AND e.entity_id = ended.entity_id AND e.status = {Status.PENDING:d} AND NOT e.fact AND NOT e.final
                AND ended.outcome <> {Outcome.EXPIRED:d}
                AND (e.version, e.sequence, e.operation, e.fingerprint)
                  < (ended.version, ended.sequence, ended.operation, ended.fingerprint)
              FOR UPDATE SKIP LOCKED) waits) x
    WHERE event.id = x.older_id)
UPDATE event SET status = {Status.COMPLETED:d}, outcome = ended.outcome, finished_at = clock_timestamp(),
    claim_token = NULL,
       lease_until = NULL, error = NULL, attempts = greatest(attempts, 1),
       history = history || ended.notes
FROM ended WHERE event.id = ANY(ARRAY(SELECT id FROM ended)) AND event.id = ended.id AND claim_token = :token
""")
_TRIED = text("SELECT attempts, entity_type FROM event WHERE id = :id")
# Gives a claimed event back to wait for its next attempt.
_RETURN = text(f"""
UPDATE event SET status = {Status.PENDING:d}, claim_token = NULL, lease_until = NULL, dispatched_at = NULL,
    dispatches = 0,
       attempts = greatest(attempts - :refund, 0), due_at = clock_timestamp() + make_interval(secs => :wait_s),
       error = :error, history = history || CAST(:notes AS jsonb)
WHERE id = :id AND claim_token = :token
""")
_RETURN_UNTRIED = text(f"""
UPDATE event SET status = {Status.PENDING:d}, claim_token = NULL, lease_until = NULL, claimed_at = NULL,
    dispatched_at = NULL
WHERE id = ANY(CAST(:ids AS uuid[])) AND claim_token = :token
""")


@dataclass(frozen=True, slots=True)
class Ended:
    """One fenced event and what became of it."""

    event: StoredEvent
    applied: Applied


def fence(session: Executor, claimed: Claim) -> list[Fenced]:
    """Return the claimed events, their rows and entities locked until the transaction ends: the first of apply.

    The row lock is also the lease's renewal: the dispatcher takes no lease whose row is locked, and PostgreSQL ends
    the lock with the session of a worker that froze (idle_in_transaction_session_timeout). Those that another worker
    has, or that have ended, are left out.

    Raises:
        ClaimLost: that is so of all of them.
    """
    values = {"ids": [str(event_id) for event_id in claimed.event_ids], "token": claimed.token}
    fenced = [_fenced(row) for row in session.execute(_FENCE, values)]
    if not fenced:
        raise ClaimLost
    return fenced


def finish(
    session: Executor,
    event_id: uuid.UUID,
    token: uuid.UUID,
    outcome: Outcome,
    *,
    notes: Sequence[dict[str, Any]] = (),
    error: str | None = None,
) -> bool:
    """End a claimed event; tell whether the claim still held."""
    failed = outcome in {Outcome.DEAD, Outcome.QUARANTINED}
    values = {"status": int(Status.FAILED if failed else Status.COMPLETED), "outcome": int(outcome), "error": error}
    return _changed(session, _FINISH, {**values, "id": event_id, "token": token, "notes": _json(notes)}) == 1


def give_back(  # noqa: PLR0913  # each is a fact of the retry
    session: Executor,
    event_id: uuid.UUID,
    token: uuid.UUID,
    *,
    wait_s: float,
    refund: bool = False,
    error: str | None = None,
    notes: Sequence[dict[str, Any]] = (),
) -> bool:
    """Return a claimed event to the waiting ones, due in ``wait_s``; ``refund`` gives its attempt back."""
    values = {"wait_s": wait_s, "refund": int(refund), "error": error, "notes": _json(notes)}
    return _changed(session, _RETURN, {**values, "id": event_id, "token": token}) == 1


def tried(session: Executor, event_id: uuid.UUID) -> tuple[int, str]:
    """Return how many attempts an event has had, and its entity type: what decides on another."""
    attempts, entity_type = session.execute(_TRIED, {"id": event_id}).one()
    return int(attempts), str(entity_type)


def give_back_untried(session: Executor, claimed: Claim) -> None:
    """Return claimed events that nobody came to, as if they had never been claimed."""
    session.execute(
        _RETURN_UNTRIED, {"ids": [str(event_id) for event_id in claimed.event_ids], "token": claimed.token}
    )


def finish_with_older(session: Executor, token: uuid.UUID, ended: Sequence[Ended]) -> None:
    """End fenced events and every older waiting state event of their entities: the last statement of apply.

    It commits without waiting for the disk: what a server that crashes forgets here it forgets with the rows that
    were applied, and the events are applied again. The event itself was on the disk before its sender was answered.
    """
    rows = [
        {
            "id": one.event.id,
            "outcome": one.applied.outcome,
            "older_outcome": _of_older(one.applied.outcome),
            "notes": one.applied.notes,
            "source_id": one.event.source_id,
            "entity_type": one.event.entity_type,
            "entity_id": one.event.entity_id,
            "version": one.event.version,
            "sequence": one.event.sequence,
            "operation": one.event.operation,
            "fingerprint": one.event.fingerprint,
        }
        for one in ended
    ]
    values = {"token": token, "ended": packed(rows)}
    session.execute(_FINISH_WITH_OLDER, values, execution_options=WITH_COMMIT | ASYNC_COMMIT)


def _of_older(outcome: Outcome) -> Outcome:
    return outcome if outcome in {Outcome.STALE, Outcome.TOMBSTONED} else Outcome.SUPERSEDED


def _fenced(row: Any) -> Fenced:
    own = {name: getattr(row, name) for name in _EVENT}
    own |= {"operation": Operation(row.operation), "fingerprint": bytes(row.fingerprint)}
    own["completeness"] = Completeness(row.completeness)
    standing = None
    if row.old_version is not None:
        operation, fingerprint = Operation(row.old_operation), bytes(row.old_fingerprint)
        position = Position(row.old_version, row.old_sequence, operation, fingerprint)
        standing = State(position, row.old_final, row.old_data)
    return Fenced(StoredEvent(**own), standing, row.old_event_id, row.fact_known, row.attempts, row.traced)


def _json(notes: Sequence[dict[str, Any]]) -> str:
    return orjson.dumps(list(notes)).decode()


def _changed(session: Executor, statement: TextClause, values: dict[str, Any]) -> int:
    result: Any = session.execute(statement, values)
    return int(result.rowcount)
