"""Owns what failed and why: failed events counted by reason."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.models import Outcome, Status

# A reason is the error without what differs from event to event: ids and long numbers.
_FAILED = text(f"""
SELECT s.name, e.type, e.outcome, r.reason, d.note ->> 'where', d.note ->> 'trace', count(*), max(e.finished_at),
       (array_agg(e.id ORDER BY e.finished_at DESC NULLS LAST, e.id DESC))[1]
FROM event e JOIN source s ON s.id = e.source_id,
LATERAL (SELECT regexp_replace(coalesce(e.error, ''),
                               '[0-9a-fA-F]{{8}}(-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}|[0-9]{{5,}}',
                               '…', 'g') AS reason) r,
LATERAL (SELECT CASE WHEN e.history -> -1 ->> 'step' = 'dead' THEN e.history -> -1 END AS note) d
WHERE e.status = {Status.FAILED:d} AND (CAST(:outcome AS int) IS NULL OR e.outcome = :outcome)
  AND (CAST(:source AS text) IS NULL OR s.name = :source)
GROUP BY s.name, e.type, e.outcome, r.reason, d.note ->> 'trace', d.note ->> 'where'
ORDER BY count(*) DESC, max(e.finished_at) DESC, s.name, e.type
LIMIT :limit
""")


def by_reason(
    session: Session, limit: int, *, source: str | None = None, outcome: Outcome | None = None
) -> Sequence[dict[str, Any]]:
    """Return failed events grouped by source, type, outcome, reason and traceback, the most frequent first."""
    values = {"limit": limit, "source": source, "outcome": None if outcome is None else int(outcome)}
    return [
        {
            "source": source,
            "type": event_type,
            "outcome": Outcome(outcome).name.lower(),
            "reason": reason,
            "where": where,
            "trace": trace,
            "count": count,
            "newest": newest,
            "example_id": str(example),
        }
        for source, event_type, outcome, reason, where, trace, count, newest, example in session.execute(
            _FAILED, values
        )
    ]
