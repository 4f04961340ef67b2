"""Owns claim and what ends it: the fence that lets exactly one worker write an event's outcome."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import TextClause, text

from app.bare import LAST, SOON, Executor
from app.errors import ClaimLost
from app.inbox.wake import wake
from app.incoming import Operation, StoredEvent
from app.models import Lane, Outcome, Status
from app.pointers import Dispatch, Pointer


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a worker reads before it locks: whose event this is."""

    source_id: int
    entity_type: str
    entity_id: str
    fact: bool

    @property
    def entity_key(self) -> str:
        """The name of the entity's lock."""
        return f"{self.source_id}/{self.entity_type}/{self.entity_id}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to end one event."""

    event_id: uuid.UUID
    token: uuid.UUID
    attempts: int
    """Including this one."""


# Where a statement goes by id, its status is compared behind a cast: else the planner, whose figures are always old
# here, takes one of the partial indexes over status for almost empty and reads all of it instead of one row.
_WAITING = text("""
SELECT id, generation, source_id, entity_type, entity_id, fact FROM event
WHERE id = ANY(CAST(:ids AS uuid[])) AND CAST(status AS int) = 0 AND due_at <= now()
""")

# A fact is claimed itself. A state event stands for its entity: the newest one that is due goes first, whichever
# pointer came, and the older ones end as superseded when it is applied. A final delete goes before any save and is
# never superseded: it wins whatever its version.
_CLAIM = """
UPDATE event SET status = 1, claim_token = :token, attempts = attempts + 1, claimed_at = clock_timestamp(),
       lease_until = clock_timestamp() + make_interval(secs => :lease_s), parked_at = NULL
WHERE id = (
    SELECT id FROM event
    WHERE {which} AND due_at <= now()
    ORDER BY final DESC, version DESC, sequence DESC, operation DESC, fingerprint DESC
    LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, attempts
"""
_CLAIM_FACT = text(_CLAIM.format(which="id = :id AND CAST(status AS int) = 0"))
_CLAIM_STATE = text(
    _CLAIM.format(
        which="source_id = :source_id AND entity_type = :entity_type AND entity_id = :entity_id AND NOT fact "
        "AND status = 0"
    )
)

_FENCE = text("""
SELECT id, source_id, entity_type, entity_id, type, operation, version, version_text, sequence, fingerprint, final,
       state, fact, payload, data_pointer, received_at
FROM event WHERE id = :id AND claim_token = :token FOR UPDATE
""")
# Like everything that ends or returns a claim, it binds to the token, which whoever ends or takes the claim removes: a
# worker that lost its claim changes nothing.
_FINISH_SQL = """
UPDATE event SET status = :status, outcome = :outcome, finished_at = clock_timestamp(), claim_token = NULL,
       lease_until = NULL, error = :error, history = history || CAST(:notes AS jsonb)
WHERE id = :id AND claim_token = :token
"""
_FINISH = text(_FINISH_SQL)
# What is older than the newest one ends with it: superseded when that is applied, and judged alike when it is stale
# or tombstoned, for whatever that met is newer than these, too. A final delete is never ended by another.
_FINISH_WITH_OLDER = text(
    """
WITH older AS (
    UPDATE event SET status = 2, finished_at = clock_timestamp(), parked_at = NULL,
           outcome = CASE WHEN :older_outcome = 4 AND operation = 3 THEN 2 ELSE :older_outcome END,
           history = history || jsonb_build_array(jsonb_build_object(
               'step', 'ended with a newer one', 'by', CAST(CAST(:id AS uuid) AS text),
               'tie', (version, sequence) = (:version, :sequence)))
    WHERE source_id = :source_id AND entity_type = :entity_type AND entity_id = :entity_id AND status = 0
      AND NOT fact AND NOT final
      AND (version, sequence, operation, fingerprint) < (:version, :sequence, :operation, :fingerprint))
"""
    + _FINISH_SQL
)
_RETURN = text("""
UPDATE event SET status = 0, claim_token = NULL, lease_until = NULL, dispatched_at = NULL, dispatches = 0,
       attempts = attempts - :refund, due_at = clock_timestamp() + make_interval(secs => :wait_s), error = :error,
       history = history || CAST(:notes AS jsonb)
WHERE id = :id AND claim_token = :token
""")
_PARK = text(
    "UPDATE event SET parked_at = clock_timestamp() WHERE id = :id AND CAST(status AS int) = 0 AND parked_at IS NULL"
)
_POINTER_SPENT = text("UPDATE event SET dispatched_at = NULL WHERE id = :id AND CAST(status AS int) = 0")
_UNPARK = text("""
UPDATE event SET parked_at = NULL, dispatched_at = now()
WHERE source_id = :source_id AND entity_type = :entity_type AND entity_id = :entity_id
  AND parked_at IS NOT NULL AND CAST(status AS int) = 0
RETURNING id, generation, lane, priority
""")


def waiting(session: Executor, pointers: Sequence[Pointer]) -> list[tuple[Pointer, Waiting]]:
    """Return whose events the pointers name, in order, without those that are done, claimed, not due or older."""
    rows = session.execute(_WAITING, {"ids": [str(pointer.event_id) for pointer in pointers]})
    found = {Pointer(row[0], row[1]): Waiting(*row[2:]) for row in rows}
    return [(pointer, found[pointer]) for pointer in pointers if pointer in found]


def claim(session: Executor, pointer: Pointer, event: Waiting, lease_s: float) -> Claim | None:
    """Claim the event, or its entity's newest waiting one, for ``lease_s``; None where another has it.

    The attempt counts once the caller commits, before any work: an event that kills its process can't try for ever.
    """
    which: dict[str, Any] = {"id": pointer.event_id}
    if not event.fact:
        which = {"source_id": event.source_id, "entity_type": event.entity_type, "entity_id": event.entity_id}
    token = uuid.uuid4()
    statement = _CLAIM_FACT if event.fact else _CLAIM_STATE
    # A server that crashes forgets the attempt with the work it was for.
    row = session.execute(
        statement, {"token": token, "lease_s": lease_s, **which}, execution_options=SOON
    ).one_or_none()
    return None if row is None else Claim(row[0], token, row[1])


def fence(session: Executor, claimed: Claim) -> StoredEvent:
    """Return the claimed event, its row locked until the transaction ends: the first statement of apply.

    The row lock is also the lease's renewal: the dispatcher takes no lease whose row is locked, and PostgreSQL ends
    the lock with the session of a worker that froze (idle_in_transaction_session_timeout).

    Raises:
        ClaimLost: another worker has it, or it has ended.
    """
    row = session.execute(_FENCE, _of(claimed)).one_or_none()
    if row is None:
        raise ClaimLost
    return StoredEvent(
        **{**row._asdict(), "operation": Operation(row.operation), "fingerprint": bytes(row.fingerprint)}
    )


def finish(
    session: Executor,
    claimed: Claim,
    outcome: Outcome,
    *,
    notes: Sequence[dict[str, Any]] = (),
    error: str | None = None,
) -> bool:
    """End a claimed event; tell whether the claim still held."""
    failed = outcome in {Outcome.DEAD, Outcome.QUARANTINED}
    values = {"status": int(Status.FAILED if failed else Status.COMPLETED), "outcome": int(outcome), "error": error}
    return _changed(session, _FINISH, {**values, **_of(claimed), "notes": _json(notes)}) == 1


def give_back(  # noqa: PLR0913  # each is a fact of the retry
    session: Executor,
    claimed: Claim,
    *,
    wait_s: float,
    refund: bool = False,
    error: str | None = None,
    notes: Sequence[dict[str, Any]] = (),
) -> bool:
    """Return a claimed event to the waiting ones, due in ``wait_s``; ``refund`` gives its attempt back."""
    values = {"wait_s": wait_s, "refund": int(refund), "error": error, "notes": _json(notes)}
    return _changed(session, _RETURN, {**values, **_of(claimed)}) == 1


def finish_with_older(
    session: Executor, claimed: Claim, event: StoredEvent, outcome: Outcome, notes: Sequence[dict[str, Any]]
) -> None:
    """End a fenced event and every older waiting state event of its entity: the last statement of apply."""
    older = outcome if outcome in {Outcome.STALE, Outcome.TOMBSTONED} else Outcome.SUPERSEDED
    values = {
        "source_id": event.source_id,
        "entity_type": event.entity_type,
        "entity_id": event.entity_id,
        "version": event.version,
        "sequence": event.sequence,
        "operation": int(event.operation),
        "fingerprint": event.fingerprint,
        "older_outcome": int(older),
        "status": int(Status.COMPLETED),
        "outcome": int(outcome),
        "error": None,
        "notes": _json(notes),
    }
    session.execute(_FINISH_WITH_OLDER, {**values, **_of(claimed)}, execution_options=LAST)


def park(session: Executor, pointer: Pointer) -> None:
    """Mark an event as waiting for its entity; whoever holds the entity dispatches it again afterwards."""
    session.execute(_PARK, {"id": pointer.event_id}, execution_options=SOON)


def pointer_spent(session: Executor, pointer: Pointer) -> None:
    """Say that a pointer was used for another event of its entity: if its own still waits, it needs a new one."""
    if _changed(session, _POINTER_SPENT, {"id": pointer.event_id}):
        wake(session)


def unpark(session: Executor, event: Waiting) -> list[Dispatch]:
    """Take every parked event of an entity, presumed dispatched from now on."""
    owner = {"source_id": event.source_id, "entity_type": event.entity_type, "entity_id": event.entity_id}
    return [
        Dispatch(Pointer(event_id, generation), Lane(lane), priority)
        for event_id, generation, lane, priority in session.execute(_UNPARK, owner)
    ]


def _of(claimed: Claim) -> dict[str, Any]:
    return {"id": claimed.event_id, "token": claimed.token}


def _json(notes: Sequence[dict[str, Any]]) -> str:
    return orjson.dumps(list(notes)).decode()


def _changed(session: Executor, statement: TextClause, values: dict[str, Any]) -> int:
    result: Any = session.execute(statement, values)
    return int(result.rowcount)
