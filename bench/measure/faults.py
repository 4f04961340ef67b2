"""Owns the faults that alerts are for: how each is brought about in a running system, and healed."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

import psycopg2
from sqlalchemy import make_url, text

from app.db.engine import transaction
from app.events.incoming import Clock, Version
from app.inbox.store import store
from app.inbox.unmapped import unmapped
from app.models import Lane, Source, Status
from app.sources.kinds import KINDS, Request
from bench.harness.events import Stream
from bench.harness.inject import Injector, made, many
from bench.harness.load import fire
from bench.harness.parted import Parted
from bench.harness.target import Sender, Target

RETRIED, DEAD, KILLS = "fault-retried", "fault-dead", "fault-kills"
"""Entity types whose handlers fail (bench/measure/faulty.py)."""


@dataclass(frozen=True, slots=True)
class Plant:
    """The running system, and what faults are made with."""

    system: Parted
    target: Target
    injected: Injector
    source: Source
    poor: Sender
    """One whose budget is used up at once."""

    def put(self, event_type: str, count: int, lane: Lane) -> None:
        """Store events in a lane."""
        self.injected.put(self.source, many(count, event_type, f"{event_type}-{time.time_ns()}"), lane, wait=True)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and the alerts that are to say it."""

    alerts: tuple[str, ...]
    words: str
    inject: Callable[[Plant], AbstractContextManager[None]]
    real_s: float = 0.0
    """What it takes by itself, undivided: a threshold that is a time, a lease."""


@contextmanager
def _retries(plant: Plant) -> Iterator[None]:
    plant.put(f"{RETRIED}.updated", 30, Lane.HIGH)
    yield


@contextmanager
def _dead(plant: Plant) -> Iterator[None]:
    plant.put(f"{DEAD}.updated", 1, Lane.MEDIUM)
    yield


@contextmanager
def _poison(plant: Plant) -> Iterator[None]:
    plant.put(f"{KILLS}.updated", 4, Lane.MEDIUM)
    yield
    _forget(plant, f"{KILLS}.updated")


@contextmanager
def _skew(plant: Plant) -> Iterator[None]:
    ahead = Version(Decimal(int(time.time()) + 86_400), "tomorrow", Clock.TIME)
    event = replace(made("price.updated", "ahead", 1), version=ahead)
    plant.injected.put(plant.source, [event], Lane.HIGH)
    yield


@contextmanager
def _unreadable(plant: Plant) -> Iterator[None]:
    kind = KINDS["standard"]
    event = unmapped(
        Request({}, f"no JSON at {time.time_ns()}".encode(), time.time()),
        "the body isn't JSON",
        kind=kind,
        config=kind.config(),
        secrets=[],
        source=plant.source.name,
        source_id=plant.source.id,
        revision=plant.source.revision,
    )
    with transaction(plant.target.engine) as session:
        store(session, [event])
    yield


@contextmanager
def _without(plant: Plant, *names: str) -> Iterator[None]:
    plant.system.stop(*names, number=signal.SIGKILL)
    try:
        yield
    finally:
        plant.system.start(*names)


@contextmanager
def _old(plant: Plant) -> Iterator[None]:
    """Let an event be due for a long time, in a lane whose worker has gone."""
    with _without(plant, "worker-low"):
        plant.put("log.recorded", 1, Lane.LOW)
        with plant.target.engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE event SET due_at = now() - interval '1 h' "
                    f"WHERE status = {Status.PENDING:d} AND lane = {Lane.LOW:d}"
                )
            )
        yield


@contextmanager
def _halted(plant: Plant, server: str) -> Iterator[None]:
    plant.system.services.halt(server)
    try:
        yield
    finally:
        plant.system.services.resume(server)


@contextmanager
def _connections(plant: Plant) -> Iterator[None]:
    url = make_url(plant.target.settings.database_url).set(drivername="postgresql")
    with plant.target.engine.connect() as connection:
        limit = int(connection.execute(text("SHOW max_connections")).scalar_one())
        in_use = int(connection.execute(text("SELECT count(*) FROM pg_stat_activity")).scalar_one())
    with ExitStack() as stack:
        for _ in range(int(limit * 0.95) - in_use):
            opened = psycopg2.connect(url.render_as_string(hide_password=False))
            stack.callback(opened.close)
        yield


@contextmanager
def _shed(plant: Plant) -> Iterator[None]:
    fire(plant.target.host, plant.target.port, list(Stream(plant.poor).requests(100)), 10.0)
    yield


def _forget(plant: Plant, event_type: str) -> None:
    with plant.target.engine.begin() as connection:
        connection.execute(
            text(f"DELETE FROM event WHERE status < {Status.COMPLETED:d} AND type = :type"), {"type": event_type}
        )


def _gone(*names: str) -> Callable[[Plant], AbstractContextManager[None]]:
    return lambda plant: _without(plant, *names)


FAULTS = (
    Fault(("EventsDead",), "one event's handler says never", _dead),
    Fault(("SourceClockSkew",), "a source's event has tomorrow's version", _skew),
    Fault(("EventsUnmapped",), "a verified sender's body is no JSON", _unreadable),
    Fault(("WorkerRetryRatio",), "30 events' handler says not now, each time", _retries),
    Fault(("EventsPoison",), "four events kill whoever works on them", _poison, 4.0),
    Fault(("EventsShed",), "a source sends 10 a second, its budget is none", _shed),
    Fault(("DispatcherNotRunning",), "the dispatcher is killed", _gone("dispatcher"), 15.0),
    Fault(("LaneWithoutWorkers",), "the low lane's workers are killed", _gone("worker-low")),
    Fault(("EventProcessingLag", "LaneBehindObjective"), "an event of the low lane has been due for an hour", _old),
    Fault(("DatabaseConnectionsShort",), "somebody opens 95 % of PostgreSQL's connections", _connections, 1.0),
    Fault(("LocksUnavailable",), "Redis is stopped", lambda plant: _halted(plant, "redis")),
    Fault(("DatabaseDown", "ApiErrorRate"), "PostgreSQL is stopped", lambda plant: _halted(plant, "postgresql")),
    Fault(("MetricsMissing",), "the endpoint is killed", _gone("metrics")),
)
