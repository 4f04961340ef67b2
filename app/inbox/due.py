"""Owns what the dispatcher asks of the inbox: which events are due, whose lease ran out, which pointers got lost."""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import text

from app.db.pipeline import Executor
from app.inbox.wake import wake
from app.messaging.pointer import Dispatch, Pointer
from app.models import Lane, Outcome, Status


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """How full a lane's window is."""

    lane: Lane
    out: int
    """Pointers presumed in the queue or in a worker."""
    out_by_source: dict[int, int]
    backlog: bool
    """Whether due events wait behind the window."""


# What is out is at most about a window's worth of rows, found through event_out_idx. Not EXISTS, which may be planned
# as a hash of the whole backlog.
_LOADS = text(f"""
SELECT l.lane,
       coalesce((SELECT jsonb_object_agg(o.source_id, o.count) FROM (
           SELECT e.source_id, count(*) FROM event e
           WHERE e.lane = l.lane AND e.status = {Status.PENDING:d}
               AND e.dispatched_at IS NOT NULL GROUP BY e.source_id) o),
           '{{}}') AS out,
       coalesce((SELECT true FROM event e WHERE e.lane = l.lane AND e.status + 0 = 0 AND e.dispatched_at IS NULL
                 AND e.due_at <= now() ORDER BY e.due_at LIMIT 1), false) AS backlog
FROM lane l ORDER BY l.lane
""")
# PostgreSQL has no scan that leaps from one value to the next; this is one, a look-up in event_fair_idx for each
# source that waits, however much of it waits (https://wiki.postgresql.org/wiki/Loose_indexscan). Its order begins with
# the lane, which no other index has.
_SOURCES = text(f"""
WITH RECURSIVE waiting(lane, source_id) AS (
    SELECT CAST(:lane AS smallint), -1
    UNION ALL
    SELECT next.lane, next.source_id FROM waiting w CROSS JOIN LATERAL (
        SELECT e.lane, e.source_id FROM event e
        WHERE (e.lane, e.source_id) > (w.lane, w.source_id) AND e.status = {Status.PENDING:d}
            AND e.dispatched_at IS NULL
        ORDER BY e.lane, e.source_id LIMIT 1) next
    WHERE next.lane = :lane)
SELECT w.source_id, coalesce(s.weight, 1) FROM waiting w LEFT JOIN source s ON s.id = w.source_id
WHERE w.source_id <> -1
""")
# A look-up for each source and priority, so that what isn't due yet, or is another's, costs nothing however much of it
# there is: everything read is taken.
_TAKE = text(f"""
UPDATE event SET dispatched_at = now()
WHERE id IN (
    SELECT taken.id
    FROM unnest(CAST(:sources AS int[]), CAST(:quotas AS int[])) AS q(source_id, quota)
    CROSS JOIN LATERAL (
        SELECT due.id FROM generate_series(9, 0, -1) AS p(priority)
        CROSS JOIN LATERAL (
            SELECT e.id FROM event e
            WHERE e.lane = :lane AND e.source_id = q.source_id AND e.priority = p.priority
              AND e.status = {Status.PENDING:d} AND e.dispatched_at IS NULL AND e.due_at <= now()
            ORDER BY e.due_at LIMIT q.quota FOR UPDATE SKIP LOCKED) due
        LIMIT q.quota) taken)
RETURNING id, generation, lane, priority, due_at, source_id, trace
""")
# A worker that still works holds its row locked, so SKIP LOCKED leaves it alone. Only a claim that ended without
# an outcome comes here; one that used its last attempt is dead.
_EXPIRED_LEASES = text(f"""
UPDATE event SET claim_token = NULL, lease_until = NULL, dispatched_at = NULL,
       status = CASE WHEN attempts >= :max_attempts THEN {Status.FAILED:d} ELSE {Status.PENDING:d} END,
       outcome = CASE WHEN attempts >= :max_attempts THEN {Outcome.DEAD:d} END,
       finished_at = CASE WHEN attempts >= :max_attempts THEN clock_timestamp() END,
       error = CASE WHEN attempts >= :max_attempts THEN 'its worker died at every attempt' END,
       history = history || jsonb_build_array(jsonb_build_object('step', 'lease expired', 'at', clock_timestamp()))
WHERE id IN (SELECT id FROM event WHERE status = {Status.PROCESSING:d} AND lease_until < clock_timestamp()
             ORDER BY lease_until LIMIT 500 FOR UPDATE SKIP LOCKED)
RETURNING lane
""")
# The wait doubles with each time, so that a slow lane isn't flooded with copies of its own pointers.
_LOST_POINTERS = text(f"""
UPDATE event SET dispatched_at = now(), dispatches = least(dispatches + 1, 16)
WHERE id IN (SELECT id FROM event
             WHERE lane = :lane AND status = {Status.PENDING:d}
               AND dispatched_at < now() - make_interval(secs => :older_than_s)
               AND dispatched_at < now() - make_interval(secs => :older_than_s * power(2, least(dispatches, 6)))
             ORDER BY dispatched_at LIMIT :room FOR UPDATE SKIP LOCKED)
RETURNING id, generation, lane, priority, due_at, trace
""")
_UNPUBLISHED = text(f"""
UPDATE event SET dispatched_at = NULL WHERE id = ANY(CAST(:ids AS uuid[])) AND CAST(status AS int) = {Status.PENDING:d}
""")
_SET_LANE = text("""
UPDATE lane SET open = :open, "window" = :window, out = :out, drain_per_s = :drain_per_s, workers = :workers,
       dispatcher_seen_at = clock_timestamp() WHERE lane = :lane
""")
# The condition of event_lane_due_idx and of no other: however the table looks, there is no other plan.
_NEXT_DUE = text("""
SELECT extract(epoch FROM min(next.due_at) - clock_timestamp()) FROM lane l CROSS JOIN LATERAL (
    SELECT e.due_at FROM event e
    WHERE e.lane = l.lane AND e.status + 0 = 0 AND e.dispatched_at IS NULL AND e.due_at > now()
    ORDER BY e.due_at LIMIT 1) next
""")
_FINISHED = text("""
SELECT lane, count(*) FROM event WHERE finished_at > now() - make_interval(secs => :window_s) GROUP BY lane
""")


def loads(session: Executor) -> list[LaneLoad]:
    """Return how full each lane is."""
    found = []
    for lane, counts, backlog in session.execute(_LOADS):
        out = {int(source): count for source, count in counts.items()}
        found.append(LaneLoad(Lane(lane), sum(out.values()), out, backlog))
    return found


def waiting_sources(session: Executor, lane: Lane) -> dict[int, int]:
    """Return the weight of each source that has something waiting behind the lane's window, due or not."""
    return {source: weight for source, weight in session.execute(_SOURCES, {"lane": int(lane)})}  # noqa: C416  # of rows


def take_due(session: Executor, lane: Lane, quotas: Mapping[int, int]) -> dict[int, list[Dispatch]]:
    """Take up to a quota of due events of each source in a lane, its most urgent first, each presumed published."""
    values = {"lane": int(lane), "sources": list(quotas), "quotas": list(quotas.values())}
    by_source: dict[int, list[Any]] = {source: [] for source in quotas}
    for event_id, generation, event_lane, priority, due_at, source_id, trace in session.execute(_TAKE, values):
        by_source[source_id].append((event_id, generation, event_lane, priority, due_at, trace))
    return {source: _dispatches(rows) for source, rows in by_source.items()}


@dataclass(frozen=True, slots=True)
class LaneBacklog:
    """What waits behind one lane's window, as a refill asks for it."""

    session: Executor
    lane: Lane

    def sources(self) -> dict[int, int]:
        """Return the weight of each source that has something waiting, due or not."""
        return waiting_sources(self.session, self.lane)

    def take(self, quotas: Mapping[int, int]) -> dict[int, list[Dispatch]]:
        """Take up to a quota of due events of each source, its most urgent first, each presumed published."""
        return take_due(self.session, self.lane, quotas)


def take_lost(session: Executor, lane: Lane, older_than_s: float, room: int) -> list[Dispatch]:
    """Take pointers that should have been worked on long ago: the broker may have lost them."""
    values: dict[str, float] = {"lane": int(lane), "older_than_s": older_than_s, "room": room}
    return _dispatches(session.execute(_LOST_POINTERS, values).all())


def expire_leases(session: Executor, max_attempts: int) -> Counter[Lane]:
    """Return the events whose worker vanished to the waiting ones; tell how many of each lane there were."""
    return Counter(Lane(lane) for (lane,) in session.execute(_EXPIRED_LEASES, {"max_attempts": max_attempts}))


def unpublished(session: Executor, event_ids: Sequence[uuid.UUID]) -> None:
    """Say that these were not published after all, and wake the dispatcher."""
    session.execute(_UNPUBLISHED, {"ids": [str(event_id) for event_id in event_ids]})
    wake(session)


def set_lane(
    session: Executor, load: LaneLoad, *, is_open: bool, window: int, drain_per_s: float, workers: int
) -> None:
    """Record what the dispatcher saw and decided about a lane."""
    values: dict[str, float] = {"lane": int(load.lane), "open": is_open, "window": window, "out": load.out}
    values |= {"drain_per_s": drain_per_s, "workers": workers}
    session.execute(_SET_LANE, values)


def next_due_in_s(session: Executor) -> float | None:
    """Return the seconds until the next event becomes due, or None."""
    seconds = session.execute(_NEXT_DUE).scalar_one_or_none()
    return None if seconds is None else max(0.0, float(seconds))


def finished_in(session: Executor, window_s: float) -> dict[Lane, int]:
    """Return how many events of each lane ended in the last ``window_s``."""
    return {Lane(lane): count for lane, count in session.execute(_FINISHED, {"window_s": window_s})}


def _dispatches(rows: Iterable[Any]) -> list[Dispatch]:
    """Return rows of (id, generation, lane, priority, due time, trace) as dispatches."""
    # RETURNING keeps no order: the most urgent first again.
    found = [
        (-priority, due_at, Dispatch(Pointer(event_id, generation), Lane(lane), priority, trace))
        for event_id, generation, lane, priority, due_at, trace in rows
    ]
    found.sort(key=itemgetter(0, 1))
    return [dispatch for _, _, dispatch in found]
