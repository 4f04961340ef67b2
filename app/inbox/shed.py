"""Owns the count of what the receiver refused, by lane: of the last two minutes by the second, and in all."""

from collections.abc import Mapping

from sqlalchemy import text

from app.db.pipeline import DEFERRED, Executor
from app.models import Lane

# The row at the epoch is the sum of all time. In one order, so that two processes never deadlock.
_ADD = text("""
INSERT INTO shed (lane, at, count)
SELECT a.lane, t.at, a.count
FROM unnest(CAST(:lanes AS smallint[]), CAST(:counts AS bigint[])) AS a(lane, count),
     (VALUES (CAST('epoch' AS timestamptz)), (date_trunc('second', clock_timestamp()))) AS t(at)
ORDER BY a.lane, t.at
ON CONFLICT (lane, at) DO UPDATE SET count = shed.count + excluded.count
""")
_FORGET = text("""
DELETE FROM shed WHERE (lane, at) IN (
    SELECT lane, at FROM shed WHERE at > 'epoch' AND at < now() - interval '2 minutes' FOR UPDATE SKIP LOCKED)
""")


def add(session: Executor, refused: Mapping[Lane, int]) -> None:
    """Add how many events of each lane were refused just now."""
    lanes = sorted(refused)
    values = {"lanes": [int(lane) for lane in lanes], "counts": [refused[lane] for lane in lanes]}
    session.execute(_FORGET, execution_options=DEFERRED)
    session.execute(_ADD, values)
