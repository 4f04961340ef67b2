"""Owns how long each lane's longest waiting due event waits: the dispatcher writes it down for the receivers."""

from sqlalchemy import text

from app.db.pipeline import Executor
from app.models import Status

# A probe in event_lane_due_idx (hence status + 0), and what is out: about a window's worth of rows through
# event_out_idx, however many wait behind them. Its age is its own, not its pointer's: one that is published again and
# again, since nobody listens, must look older with each time.
_RECORD = text(f"""
UPDATE lane l SET oldest_due_at = (
    SELECT min(f.due) FROM (
        SELECT (SELECT e.due_at FROM event e
                WHERE e.lane = l.lane AND e.status + 0 = 0 AND e.dispatched_at IS NULL
                      AND e.due_at <= now() ORDER BY e.due_at LIMIT 1) AS due
        UNION ALL
        SELECT (SELECT min(e.due_at) FROM event e
                WHERE e.lane = l.lane AND e.status = {Status.PENDING:d} AND e.dispatched_at IS NOT NULL)) AS f)
WHERE l.lane = ANY(CAST('{{0,1,2}}' AS smallint[]))
""")


def record(session: Executor) -> None:
    """Write down since when the longest waiting due event of each lane has been due; null where none is."""
    session.execute(_RECORD)
