"""Owns how far each source's clock is from ours, as its events tell. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.models import Outcome

LOOKED_AT = 50_000
"""The newest events, of all sources together."""
# A version that isn't within ten years of its arrival is a counter, not a time.
_SKEW = text(f"""
WITH newest AS (
    SELECT source_id, outcome, CASE WHEN version_text IS NOT NULL THEN version - extract(epoch FROM received_at) END
           AS ahead_s
    FROM event ORDER BY received_at DESC, id DESC LIMIT :looked_at),
timed AS (
    SELECT source_id, outcome, CASE WHEN abs(ahead_s) < 315360000 THEN ahead_s END AS ahead_s FROM newest)
SELECT s.name, count(t.ahead_s), min(t.ahead_s),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY t.ahead_s), max(t.ahead_s),
       count(*) FILTER (WHERE t.outcome = {Outcome.QUARANTINED:d})
FROM source s JOIN timed t ON t.source_id = s.id
WHERE s.config ->> 'version_clock' IS DISTINCT FROM 'counter'
GROUP BY s.name ORDER BY s.name
""")


@dataclass(frozen=True, slots=True)
class Skew:
    """One source's versions against their arrival; seconds, negative is before it."""

    source: str
    measured: int
    """Events with a version that is a time."""
    least_s: float | None
    median_s: float | None
    """What its delivery takes, mostly; above 0 its clock is ahead of ours."""
    most_s: float | None
    quarantined: int


def by_source(session: Session) -> Sequence[Skew]:
    """Return the skew of each source that sent lately and whose versions are times."""
    rows = session.execute(_SKEW, {"looked_at": LOOKED_AT})
    return [
        Skew(name, measured, _seconds(least), _seconds(median), _seconds(most), quarantined)
        for name, measured, least, median, most, quarantined in rows
    ]


def _seconds(value: object) -> float | None:
    return None if value is None else round(float(value), 3)  # type: ignore[arg-type]  # a number of the database's
