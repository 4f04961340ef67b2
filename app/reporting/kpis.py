"""Owns the figures that the business reads, over a window of arrivals and by campaign. Reads only.

What each figure means, to the denominator: docs/kpis.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db.pipeline import Executor
from app.models import Lane, Outcome

OBJECTIVES_S: dict[Lane, float] = {Lane.HIGH: 5.0, Lane.MEDIUM: 60.0, Lane.LOW: 600.0}
"""How long after its trigger an event of a lane still ends on time; deploy/prometheus/rules.yml alarms on the same."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which events: those that arrived in a time, of one source or campaign where given."""

    since: datetime
    until: datetime
    source: str | None = None
    campaign: str | None = None


@dataclass(frozen=True, slots=True)
class Kpis:
    """The figures of some events; None where nothing is there to measure."""

    source: str | None
    campaign: str | None
    events: int
    ended: int
    latency_mean_s: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_max_s: float | None
    on_time_rate: float | None
    throughput_per_s: float
    error_rate: float | None
    wait_mean_s: float | None
    wait_peak_s: float | None
    uptime: float | None


# The figures of the time asked for, in all, by source and by campaign.
_KPIS = text(f"""
WITH found AS (
    SELECT e.source_id, e.campaign, e.received_at, e.outcome, e.finished_at,
           extract(epoch FROM e.finished_at - greatest(e.received_at, e.effective_at)) AS took_s,
           CASE WHEN e.claimed_at >= e.due_at THEN extract(epoch FROM e.claimed_at - e.due_at) END AS wait_s,
           (CAST(:objectives AS float8[]))[e.lane + 1] AS objective_s
    FROM event e
    WHERE e.received_at >= :since AND e.received_at < :until
      AND (CAST(:source AS text) IS NULL OR e.source_id = (SELECT id FROM source WHERE name = :source))
      AND (CAST(:campaign AS text) IS NULL OR e.campaign = :campaign)),
figures AS (
    SELECT source_id, campaign, grouping(source_id) = 1 AS whole, count(*) AS events, count(outcome) AS ended,
           avg(took_s) FILTER (WHERE outcome = {Outcome.APPLIED:d}) AS mean_s, max(took_s)
               FILTER (WHERE outcome = {Outcome.APPLIED:d}) AS max_s,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY took_s)
               FILTER (WHERE outcome = {Outcome.APPLIED:d}) AS quantiles,
           count(*) FILTER (WHERE outcome NOT IN ({Outcome.EXPIRED:d}, {Outcome.DEAD:d}, {Outcome.QUARANTINED:d},
               {Outcome.UNMAPPED:d}) AND took_s <= objective_s) AS on_time,
           count(*) FILTER (WHERE outcome IN ({Outcome.DEAD:d}, {Outcome.QUARANTINED:d},
               {Outcome.UNMAPPED:d})) AS errors,
           avg(wait_s) AS wait_s, max(wait_s) AS peak_s, min(received_at) AS first_at, max(received_at) AS last_at
    FROM found GROUP BY GROUPING SETS ((), (source_id, campaign))
    HAVING grouping(source_id) = 1 OR campaign IS NOT NULL),
spans AS (
    SELECT f.*, s.name,
           greatest(CASE WHEN f.whole THEN :since ELSE coalesce(c.starts_at, f.first_at) END, :since,
                    (SELECT min(minute) FROM uptime)) AS up_from,
           least(CASE WHEN f.whole THEN :until ELSE coalesce(c.ends_at, f.last_at) END, :until, now()) AS up_to
    FROM figures f LEFT JOIN source s ON s.id = f.source_id
    LEFT JOIN campaign c ON c.source_id = f.source_id AND c.entity_type = 'campaign' AND c.entity_id = f.campaign
                            AND c.key = '')
SELECT f.name, f.campaign, f.events, f.ended, f.mean_s, f.quantiles[1], f.quantiles[2], f.max_s,
       CASE WHEN f.ended > 0 THEN CAST(f.on_time AS float8) / f.ended END,
       f.ended / extract(epoch FROM CAST(:until AS timestamptz) - CAST(:since AS timestamptz)),
       CASE WHEN f.ended > 0 THEN CAST(f.errors AS float8) / f.ended END, f.wait_s, f.peak_s,
       CASE WHEN f.up_from <= f.up_to AND EXISTS (SELECT 1 FROM uptime) THEN (
           SELECT count(u.minute) / CAST(count(*) AS float8)
           FROM generate_series(date_trunc('minute', f.up_from), f.up_to, interval '1 min') AS g(minute)
           LEFT JOIN uptime u ON u.minute = g.minute) END
FROM spans f ORDER BY f.whole DESC, f.events DESC, f.name, f.campaign LIMIT :most
""")
_UP = text("INSERT INTO uptime (minute) VALUES (date_trunc('minute', clock_timestamp())) ON CONFLICT DO NOTHING")
_FORGET = text("DELETE FROM uptime WHERE minute < now() - interval '400 days'")


def note_up(session: Executor) -> None:
    """Note that in this minute a dispatcher led, and the broker took messages."""
    session.execute(_UP)
    session.execute(_FORGET)


def kpis(session: Session, window: Window, *, limit: int) -> Sequence[Kpis]:
    """Return the figures of all events of a window, and then of each campaign, the greatest first."""
    values: dict[str, Any] = {
        "since": window.since,
        "until": window.until,
        "source": window.source,
        "campaign": window.campaign,
        "objectives": [OBJECTIVES_S[lane] for lane in Lane],
        "most": limit + 1,
    }
    return [_kpis(row) for row in session.execute(_KPIS, values)]


def _kpis(row: Sequence[Any]) -> Kpis:
    source, campaign, events, ended, *measured = row
    figures: list[Any] = [None if value is None else round(float(value), 6) for value in measured]
    return Kpis(source, campaign, events, ended, *figures)
