"""Owns claim: a worker's right to end an event, and what it does with pointers that give it none."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from app.db.pipeline import ASYNC_COMMIT, COMMITTED_FIRST, Executor
from app.inbox.wake import wake
from app.messaging.pointer import Dispatch, Pointer
from app.models import Lane, Status


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a worker reads before it locks: whose event a pointer names, and which event goes first."""

    source_id: int
    entity_type: str
    entity_id: str
    first: uuid.UUID
    """The event to claim: a fact itself, else the newest state event of its entity that is due."""
    fresh: bool
    """Whether nobody ever claimed that one; one whose claim ended without an outcome runs alone."""

    @property
    def entity_key(self) -> str:
        """The name of the entity's lock."""
        return f"{self.source_id}/{self.entity_type}/{self.entity_id}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to end events, once it is committed."""

    event_ids: tuple[uuid.UUID, ...]
    token: uuid.UUID
    counted: bool
    """Whether it counts as an attempt. In a batch it doesn't: whose fault it is that a worker died isn't known."""


@dataclass(frozen=True, slots=True)
class ExtraWork:
    """How many more events a worker takes along where a lane is behind."""

    lane: Lane
    room: int


NO_EXTRA_WORK = ExtraWork(Lane.HIGH, 0)

# Where a statement goes by id, its status is compared behind a cast: else the planner, whose figures are always old
# here, takes one of the partial indexes over status for almost empty and reads all of it instead of one row.
# A fact goes itself. A state event stands for its entity: the newest one that is due goes first, whichever pointer
# came, and the older ones end as superseded when it is applied. A final delete goes before any save and is never
# superseded: it wins whatever its version.
_WAITING = text(f"""
SELECT e.id, e.generation, e.source_id, e.entity_type, e.entity_id, coalesce(newest.id, e.id) AS first,
       CASE WHEN newest.id IS NULL THEN e.claimed_at ELSE newest.claimed_at END IS NULL AS fresh
FROM event e LEFT JOIN LATERAL (
    SELECT n.id, n.claimed_at FROM event n
    WHERE NOT e.fact AND n.source_id = e.source_id AND n.entity_type = e.entity_type AND n.entity_id = e.entity_id
      AND NOT n.fact AND n.status = {Status.PENDING:d} AND n.due_at <= now()
    ORDER BY n.final DESC, n.version DESC, n.sequence DESC, n.operation DESC, n.fingerprint DESC
    LIMIT 1) newest ON true
WHERE e.id = ANY(CAST(:ids AS uuid[]) || ARRAY(
        SELECT o.id FROM event o
        WHERE o.lane = :lane AND o.status = {Status.PENDING:d} AND o.dispatched_at IS NOT NULL
          AND o.dispatched_at > now() - make_interval(secs => :lately_s)
          AND o.claimed_at IS NULL AND o.parked_at IS NULL
        ORDER BY o.dispatched_at LIMIT :room))
  AND CAST(e.status AS int) = {Status.PENDING:d} AND e.due_at <= now()
""")
_LATELY_S = 5.0
"""How far back is looked: a long transaction elsewhere keeps what has ended meanwhile in the index."""

# Of a batch nothing is claimed that was claimed before: it may be what killed its worker. ARRAY(…) makes the planner
# find the rows to update by their ids, whatever its figures say. Said again, it changes nothing.
_CLAIM = text(f"""
UPDATE event SET status = {Status.PROCESSING:d}, claim_token = :token, attempts = attempts + :counted,
    claimed_at = clock_timestamp(),
       lease_until = clock_timestamp() + make_interval(secs => :lease_s), parked_at = NULL
WHERE id = ANY(ARRAY(
        SELECT id FROM event
        WHERE id = ANY(CAST(:ids AS uuid[])) AND CAST(status AS int) = {Status.PENDING:d} AND due_at <= now()
            FOR UPDATE SKIP LOCKED))
  AND (:counted = 1 OR claimed_at IS NULL)
""")
_COUNT_ATTEMPT = text("""
UPDATE event SET attempts = attempts + 1 WHERE id = :id AND claim_token = :token RETURNING attempts
""")
_PARK = text(
    "UPDATE event SET parked_at = clock_timestamp() "
    f"WHERE id = :id AND CAST(status AS int) = {Status.PENDING:d} AND parked_at IS NULL"
)
_POINTERS_SPENT = text(f"""
UPDATE event SET dispatched_at = NULL WHERE id = ANY(CAST(:ids AS uuid[])) AND CAST(status AS int) = {Status.PENDING:d}
""")
_UNPARK = text(f"""
UPDATE event SET parked_at = NULL, dispatched_at = now()
WHERE source_id = :source_id AND entity_type = :entity_type AND entity_id = :entity_id
  AND parked_at IS NOT NULL AND CAST(status AS int) = {Status.PENDING:d}
RETURNING id, generation, lane, priority, trace
""")


def waiting(
    session: Executor, pointers: Sequence[Pointer], more: ExtraWork = NO_EXTRA_WORK
) -> list[tuple[Pointer, Waiting]]:
    """Return whose events the pointers name, in order, without those that are done, claimed, not due or older.

    Behind them what else waits for a worker of a lane; messages for that are on their way.
    """
    ids = [str(pointer.event_id) for pointer in pointers]
    also = {"lane": int(more.lane), "room": more.room, "lately_s": _LATELY_S}
    rows = session.execute(_WAITING, {"ids": ids, **also})
    found = {Pointer(event_id, generation): Waiting(*rest) for event_id, generation, *rest in rows}
    own = [(pointer, found[pointer]) for pointer in pointers if pointer in found]
    named = {pointer.event_id for pointer in pointers}
    return own + [one for one in found.items() if one[0].event_id not in named]


def claim(session: Executor, claimed: Claim, lease_s: float) -> None:
    """Claim events for ``lease_s``, those that nobody else has: committed before what follows it.

    So the attempt counts before any work: an event that kills its process can't try for ever. A server that crashes
    forgets the attempt with the work it was for.
    """
    values = {"ids": _ids(claimed), "token": claimed.token, "counted": int(claimed.counted), "lease_s": lease_s}
    session.execute(_CLAIM, values, execution_options=COMMITTED_FIRST)


def count_attempt(session: Executor, event_id: uuid.UUID, token: uuid.UUID) -> Claim | None:
    """Count the attempt of an event that leaves its batch to run alone; None where the claim is lost."""
    found = session.execute(_COUNT_ATTEMPT, {"id": event_id, "token": token}).one_or_none()
    return None if found is None else Claim((event_id,), token, counted=True)


def park(session: Executor, pointer: Pointer) -> None:
    """Mark an event as waiting for its entity; whoever holds the entity dispatches it again afterwards."""
    session.execute(_PARK, {"id": pointer.event_id}, execution_options=ASYNC_COMMIT)


def pointers_spent(session: Executor, pointers: Sequence[Pointer]) -> None:
    """Say that pointers were used for other events of their entities: those of theirs that wait need new ones."""
    spent: Any = session.execute(_POINTERS_SPENT, {"ids": [str(pointer.event_id) for pointer in pointers]})
    if spent.rowcount:
        wake(session)


def unpark(session: Executor, event: Waiting) -> list[Dispatch]:
    """Take every parked event of an entity, presumed dispatched from now on."""
    owner = {"source_id": event.source_id, "entity_type": event.entity_type, "entity_id": event.entity_id}
    return [
        Dispatch(Pointer(event_id, generation), Lane(lane), priority, trace)
        for event_id, generation, lane, priority, trace in session.execute(_UNPARK, owner)
    ]


def _ids(claimed: Claim) -> list[str]:
    return [str(event_id) for event_id in claimed.event_ids]
