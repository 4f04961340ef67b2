"""Owns what Prometheus reads: the processes' own numbers, and what the database says about the whole system.

The second is the same at every endpoint of one system; the rules in deploy/prometheus/ take the maximum over them.
Every family is here or in app/observability/process_metrics.py, and in docs/metrics.md.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import Engine, text

from app.db.engine import transaction
from app.errors import TiercelError
from app.models import Lane, Status
from app.observability import process_metrics
from app.observability.process_metrics import BUCKETS_S
from app.reporting import outcomes
from app.reporting.outcomes import Measured

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FRESH_S = 1.0
"""Scrapes that come closer together are told the same: so they can't load the database."""

# Waiting and scheduled read the partial indexes over status only.
_LANES = text(f"""
SELECT l.lane, coalesce(w.due, 0), coalesce(w.scheduled, 0), coalesce(r.n, 0),
       coalesce(CAST(extract(epoch FROM clock_timestamp() - l.oldest_due_at) AS float8), 0), l.workers,
       CAST(l.open AS int), l."window", l.out, coalesce(s.count, 0),
       CAST(coalesce(extract(epoch FROM l.dispatcher_seen_at), 0) AS float8)
FROM lane l
LEFT JOIN (SELECT lane, count(*) FILTER (WHERE due_at <= now()) AS due,
                  count(*) FILTER (WHERE due_at > now()) AS scheduled
           FROM event WHERE status = {Status.PENDING:d} GROUP BY lane) w USING (lane)
LEFT JOIN (SELECT lane, count(*) AS n FROM event WHERE status = {Status.PROCESSING:d} GROUP BY lane) r USING (lane)
LEFT JOIN (SELECT lane, count FROM shed WHERE at = 'epoch') s USING (lane)
ORDER BY l.lane
""")
_SERVER = text("""
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),
       CAST(current_setting('max_connections') AS int), (SELECT count(*) FROM event_conflict)
""")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric that is read off the database."""

    name: str
    help: str
    kind: type[Metric]
    labels: tuple[str, ...] = ()

    def of(self) -> Any:
        """Return an empty family of the library's."""
        return self.kind(self.name.removesuffix("_total"), self.help, labels=self.labels)  # type: ignore[call-arg]


UP = Family("tiercel_database_up", "Whether the database answered this scrape.", GaugeMetricFamily)
ENDED = Family(
    "tiercel_events_ended_total",
    "Events by how they ended; exactly those in the table, each end once.",
    CounterMetricFamily,
    ("source", "lane", "outcome"),
)
WAIT = Family(
    "tiercel_event_wait_seconds",
    "From due to the claim that ended an event.",
    HistogramMetricFamily,
    ("lane", "type"),
)
PROCESSING = Family(
    "tiercel_event_processing_seconds", "From that claim to the end.", HistogramMetricFamily, ("lane", "type")
)
APPLIED = Family(
    "tiercel_event_latency_seconds",
    "From acceptance, or an event's own time where that is later, to applied.",
    HistogramMetricFamily,
    ("lane", "type"),
)
WORK = Family(
    "tiercel_dispatcher_steps_total", "Events that the dispatcher handled.", CounterMetricFamily, ("lane", "step")
)
SHED = Family("tiercel_events_shed_total", "Verified events that were refused.", CounterMetricFamily, ("lane",))
WAITING = Family("tiercel_lane_waiting_events", "Due events that wait.", GaugeMetricFamily, ("lane",))
SCHEDULED = Family("tiercel_lane_scheduled_events", "Events that wait for their time.", GaugeMetricFamily, ("lane",))
IN_FLIGHT = Family("tiercel_lane_in_flight_events", "Events that workers hold.", GaugeMetricFamily, ("lane",))
OLDEST = Family(
    "tiercel_lane_oldest_due_age_seconds",
    "How long the longest waiting due event has been due.",
    GaugeMetricFamily,
    ("lane",),
)
WORKERS = Family("tiercel_lane_consumers", "Consumers of the lane's queue.", GaugeMetricFamily, ("lane",))
OPEN = Family("tiercel_lane_open", "Whether receivers publish directly.", GaugeMetricFamily, ("lane",))
WINDOW = Family("tiercel_lane_window_pointers", "Pointers the lane's queue may hold.", GaugeMetricFamily, ("lane",))
OUT = Family("tiercel_lane_out_pointers", "Pointers in the queue or in a worker.", GaugeMetricFamily, ("lane",))
SEEN = Family(
    "tiercel_dispatcher_seen_timestamp_seconds",
    "When a dispatcher last looked after a lane, in Unix time.",
    GaugeMetricFamily,
)
CONNECTIONS = Family("tiercel_database_connections", "Connections to the database.", GaugeMetricFamily)
CONNECTIONS_AT_MOST = Family(
    "tiercel_database_connections_limit", "Connections that the server allows.", GaugeMetricFamily
)
CONFLICTS = Family("tiercel_conflicts_kept", "Conflicts that wait for a person.", GaugeMetricFamily)

FAMILIES: tuple[Family, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Family))
_BY_MEASURED = {Measured.WAIT: WAIT, Measured.PROCESSING: PROCESSING, Measured.APPLIED: APPLIED}
_OF_LANE = (WAITING, SCHEDULED, IN_FLIGHT, OLDEST, WORKERS, OPEN, WINDOW, OUT, SHED)


class Exposition:
    """What one endpoint shows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._read_at = -_FRESH_S
        self._read: list[Metric] = []

    def registry(self) -> CollectorRegistry:
        """Return the library's registry over this exposition."""
        registry = CollectorRegistry()
        registry.register(self)
        return registry

    def text(self) -> bytes:
        """Return everything in Prometheus' text form."""
        return generate_latest(self.registry())

    def describe(self) -> Iterable[Metric]:
        """Return nothing: so that to register asks no database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Return every family, first those of processes."""
        yield from MultiProcessCollector.merge(process_metrics.files(), accumulate=True)  # type: ignore[no-untyped-call]
        now = time.monotonic()
        if now >= self._read_at + _FRESH_S:
            self._read, self._read_at = self._look(), now
        yield from self._read

    def _look(self) -> list[Metric]:
        up = UP.of()
        try:
            with transaction(self._engine) as session:
                found = [*_lanes(session.execute), *_ended(outcomes.ends(session)), *_times(outcomes.times(session))]
                work = WORK.of()
                for (lane, step), count in outcomes.work_done(session).items():
                    work.add_metric([_word(lane), step.value], count)
                server = session.execute(_SERVER).one()
        except TiercelError:
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        numbers = []
        for family, value in zip((CONNECTIONS, CONNECTIONS_AT_MOST, CONFLICTS), server, strict=True):
            number = family.of()
            number.add_metric([], value)
            numbers.append(number)
        return [up, *found, work, *numbers]


def _lanes(execute: Callable[..., Any]) -> list[Metric]:
    made = [family.of() for family in _OF_LANE]
    seen = 0.0
    for lane, due, scheduled, running, age, workers, is_open, window, out, shed, seen_at in execute(_LANES):
        values = (due, scheduled, running, max(age, 0.0), workers, is_open, window, out, shed)
        for metric, value in zip(made, values, strict=True):
            metric.add_metric([_word(Lane(lane))], value)
        seen = max(seen, seen_at)
    dispatcher = SEEN.of()
    dispatcher.add_metric([], seen)
    return [*made, dispatcher]


def _ended(ends: Iterable[outcomes.Ends]) -> list[Metric]:
    metric = ENDED.of()
    for end in ends:
        metric.add_metric([end.source, _word(end.lane), end.outcome.name.lower()], end.count)
    return [metric]


def _times(times: Iterable[outcomes.Times]) -> list[Metric]:
    made = {measured: family.of() for measured, family in _BY_MEASURED.items()}
    for time_ in times:
        below, buckets = 0, []
        for index, bound in enumerate((*(str(bound) for bound in BUCKETS_S), "+Inf")):
            below += time_.buckets.get(index, 0)
            buckets.append((bound, below))
        made[time_.measured].add_metric([_word(time_.lane), time_.type], buckets, time_.seconds)
    return list(made.values())


def _word(lane: Lane) -> str:
    return lane.name.lower()
