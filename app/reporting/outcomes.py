"""Owns what became of events, in numbers that only grow: derived from the event table, each end counted exactly once.

Nothing is counted where events end, which would cost every one of them and be wrong after a crash. The dispatcher asks
every second which rows were ended by transactions that were not visible when it asked before. How that is exact:
docs/decisions/0023-outcomes-are-counted-from-the-table.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum, StrEnum
from typing import Any

from sqlalchemy import text

from app.db.pipeline import Executor
from app.handlers import HANDLERS
from app.models import Lane, Outcome
from app.observability.process_metrics import BUCKETS_S, OTHER


class Measured(IntEnum):
    """Which time of an event."""

    WAIT = 1
    """From due to the claim that ended it."""
    PROCESSING = 2
    """From that claim to the end."""
    APPLIED = 3
    """From acceptance, or the event's own time where that is later, to applied."""


class Step(StrEnum):
    """What the dispatcher does with events."""

    PUBLISHED = "published"
    REPUBLISHED = "republished"
    """Nobody had worked on the pointer."""
    UNPUBLISHED = "unpublished"
    """The broker didn't take it."""
    LEASE_EXPIRED = "lease_expired"
    """Its worker vanished."""


@dataclass(frozen=True, slots=True)
class Ends:
    """How many events of a source and lane ended in one way."""

    source: str
    lane: Lane
    outcome: Outcome
    count: int


@dataclass(frozen=True, slots=True)
class Times:
    """How many times of one lane and type lay below each bound."""

    measured: Measured
    lane: Lane
    type: str
    buckets: Mapping[int, int]
    """By the index of the first bound that is not below; those beyond the last have their number of bounds."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Counted:
    """What one count found."""

    left: bool
    """Whether more than a minute of the past is still to be counted."""
    traced: tuple[tuple[str, str, Outcome], ...]
    """Of the sampled events among those whose end may be nobody's own work: the trace, the event and the outcome."""


_BEGIN = text("INSERT INTO tally_mark (id) VALUES (1) ON CONFLICT DO NOTHING")
# What is asked here, before the next statement's snapshot is taken, bounds where the next count has to look: whatever
# is not visible then was written by a transaction that runs now, or later than now. The second more is for the moment
# between a time being taken and its row being written.
_MARK = text("""
SELECT m.snapshot, m.since, clock_timestamp() AS now,
       least(clock_timestamp(), (SELECT min(a.xact_start) FROM pg_stat_activity a
                                 WHERE a.datname = current_database() AND a.backend_xid IS NOT NULL))
           - interval '1 s' AS next_since,
       (SELECT e.finished_at FROM event e WHERE e.finished_at > m.since ORDER BY e.finished_at LIMIT 1) AS oldest
FROM tally_mark m WHERE m.id = 1 FOR UPDATE OF m
""")
# xmin has 32 bits; a snapshot's numbers have 64. Whatever is counted here was written since the mark, so the distance
# to the newest number says which one it is. A mark with greater numbers than there are is of another server, from a
# backup: then the time alone decides.
_COUNT = text(f"""
WITH fresh AS MATERIALIZED (
    SELECT e.source_id, e.lane, e.outcome, CASE WHEN e.outcome IN ({Outcome.SUPERSEDED:d}, {Outcome.EXPIRED:d},
        {Outcome.DEAD:d}) THEN e.trace END AS trace, e.id,
           CASE WHEN e.entity_type = ANY(CAST(:types AS text[])) THEN e.entity_type ELSE :other END AS type,
           CASE WHEN e.claimed_at >= e.due_at THEN extract(epoch FROM e.claimed_at - e.due_at) END AS wait_s,
           CASE WHEN e.claimed_at >= e.due_at AND e.outcome <> {Outcome.SUPERSEDED:d}
                THEN extract(epoch FROM e.finished_at - e.claimed_at) END AS processing_s,
           CASE WHEN e.outcome = {Outcome.APPLIED:d}
                THEN extract(epoch FROM e.finished_at - greatest(e.received_at, e.effective_at)) END AS applied_s
    FROM event e, (SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) AS newest,
                          pg_snapshot_xmax(CAST(CAST(:snapshot AS text) AS pg_snapshot))
                              > pg_snapshot_xmax(pg_current_snapshot()) AS foreign_mark) x
    WHERE e.finished_at > CAST(:since AS timestamptz) AND e.finished_at <= CAST(:until AS timestamptz)
      AND (CAST(:snapshot AS text) IS NULL OR x.foreign_mark OR NOT pg_visible_in_snapshot(
          CAST(CAST(x.newest - ((x.newest - CAST(CAST(e.xmin AS text) AS bigint)) & 4294967295) AS text) AS xid8),
          CAST(CAST(:snapshot AS text) AS pg_snapshot)))),
ends AS (
    INSERT INTO tally_outcome (source_id, lane, outcome, count)
    SELECT source_id, lane, outcome, count(*) FROM fresh GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (source_id, lane, outcome) DO UPDATE SET count = tally_outcome.count + excluded.count),
times AS (
    INSERT INTO tally_time (measured, lane, type, bucket, count, seconds)
    SELECT t.measured, f.lane, f.type, width_bucket(greatest(t.s, 0) - 0.0000005, CAST(:bounds AS float8[])),
           count(*), sum(greatest(t.s, 0))
    FROM fresh f CROSS JOIN LATERAL (VALUES (1, f.wait_s), (2, f.processing_s), (3, f.applied_s)) AS t(measured, s)
    WHERE t.s IS NOT NULL GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (measured, lane, type, bucket) DO UPDATE
    SET count = tally_time.count + excluded.count, seconds = tally_time.seconds + excluded.seconds)
UPDATE tally_mark SET since = CAST(:next_since AS timestamptz),
       snapshot = CASE WHEN :keep THEN snapshot ELSE CAST(pg_current_snapshot() AS text) END
WHERE id = 1
RETURNING (SELECT json_agg(json_build_array(trace, id, outcome)) FROM fresh WHERE trace IS NOT NULL)
""")
# Adds what the dispatcher has done since it last said so.
_ADD_WORK = text("""
INSERT INTO tally_work (lane, step, count)
SELECT w.lane, w.step, w.count
FROM unnest(CAST(:lanes AS smallint[]), CAST(:steps AS text[]), CAST(:counts AS bigint[])) AS w(lane, step, count)
ORDER BY w.lane, w.step
ON CONFLICT (lane, step) DO UPDATE SET count = tally_work.count + excluded.count
""")
# Those that an alarm asks for are there from the first, with 0: an increase needs a number to increase from.
_ENDS = text(f"""
SELECT s.name, l.lane, o.outcome, coalesce(t.count, 0)
FROM source s CROSS JOIN lane l CROSS JOIN generate_series(1, 10) AS o(outcome)
LEFT JOIN tally_outcome t ON t.source_id = s.id AND t.lane = l.lane AND t.outcome = o.outcome
WHERE t.count IS NOT NULL OR (o.outcome IN ({Outcome.DEAD:d}, {Outcome.QUARANTINED:d}, {Outcome.UNMAPPED:d})
    AND s.removed_at IS NULL)
ORDER BY s.name, l.lane, o.outcome
""")
_TIMES = text("""
SELECT measured, lane, type, array_agg(bucket) AS buckets, array_agg(count) AS counts, sum(seconds) AS seconds
FROM tally_time GROUP BY measured, lane, type ORDER BY measured, lane, type
""")
_WORK = text("SELECT lane, step, count FROM tally_work ORDER BY lane, step")
# No transaction that ends events lives this long: a task is killed after a minute.
_ENDS_AT_MOST = timedelta(minutes=10)
_STEP = timedelta(minutes=1)


def count(session: Executor) -> Counted:
    """Count what has ended since the last time.

    The caller's transaction holds the mark, so that of two dispatchers only one counts.
    """
    mark = session.execute(_MARK).one_or_none()
    if mark is None:
        session.execute(_BEGIN)
        mark = session.execute(_MARK).one()
    values: dict[str, Any] = {"since": mark.since, "until": "infinity", "next_since": mark.next_since, "keep": False}
    if mark.oldest is not None and mark.oldest + _STEP < mark.now - _ENDS_AT_MOST:
        # After a long time without a dispatcher: a minute of the past each time. All of it is committed, so the mark
        # moves by the clock and the snapshot stays.
        until = mark.oldest + _STEP
        values |= {"until": until, "next_since": until, "keep": True}
    bounds = {"bounds": list(BUCKETS_S), "types": sorted(HANDLERS), "other": OTHER, "snapshot": mark.snapshot}
    traced = session.execute(_COUNT, values | bounds).scalar_one() or ()
    return Counted(bool(values["keep"]), tuple((trace, id_, Outcome(outcome)) for trace, id_, outcome in traced))


def add_work(session: Executor, done: Mapping[tuple[Lane, Step], int]) -> None:
    """Add what the dispatcher has done, by lane and step."""
    keys = sorted(done)
    values = {
        "lanes": [int(lane) for lane, _ in keys],
        "steps": [step.value for _, step in keys],
        "counts": [done[key] for key in keys],
    }
    session.execute(_ADD_WORK, values)


def ends(session: Executor) -> list[Ends]:
    """Return how many events of each source and lane ended in which way, ever."""
    return [
        Ends(source, Lane(lane), Outcome(outcome), count) for source, lane, outcome, count in session.execute(_ENDS)
    ]


def times(session: Executor) -> list[Times]:
    """Return the times of events, ever."""
    return [
        Times(Measured(measured), Lane(lane), type_, dict(zip(buckets, counts, strict=True)), float(seconds))
        for measured, lane, type_, buckets, counts, seconds in session.execute(_TIMES)
    ]


def work_done(session: Executor) -> dict[tuple[Lane, Step], int]:
    """Return what the dispatchers have done, ever, by lane and step."""
    nothing = {(lane, step): 0 for lane in Lane for step in Step}
    return nothing | {(Lane(lane), Step(step)): count for lane, step, count in session.execute(_WORK)}
