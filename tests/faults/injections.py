"""Owns the faults: each begins, lasts, and ends; nothing but the fault itself is done by hand."""

import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg2
from kombu import Connection
from redis import Redis

from app.messaging.messages import queue_name
from app.models import Lane
from tests.faults import crash
from tests.faults.crash import Point
from tests.faults.system import System

Injection = Callable[[System], Any]
"""A context: entering begins the fault, leaving ends it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that can go wrong."""

    name: str
    inject: Injection
    hold_s: float = 5.0
    """How long it lasts."""
    short: bool = False
    """Whether CI runs it, too."""
    proxied: bool = False
    future: float | None = None
    """The share of events with a version of the future, where it isn't the usual one."""
    times: int = 1
    """How many times as many events it takes, so that some still come when it is over."""


def _each_second(act: Callable[[], object], every_s: float = 1.0) -> Any:
    @contextmanager
    def going_on() -> Iterator[None]:
        stopped = threading.Event()

        def run() -> None:
            while True:
                with suppress(psutil.Error, psycopg2.Error, OSError):
                    act()
                if stopped.wait(every_s * random.uniform(0.5, 1.5)):
                    return

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    return going_on()


def killed(name: str, *, child: bool = False, every_s: float = 3.0) -> Injection:
    """Kill -9, again and again at random moments."""
    return lambda system: _each_second(lambda: system.kill(name, child=child), every_s)


@contextmanager
def frozen_process(system: System, name: str) -> Iterator[None]:
    process = system.leader(name)
    process.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def crashing(point: Point, count: int = 3) -> Injection:
    """Die exactly there, so many times."""

    @contextmanager
    def inject(system: System) -> Iterator[None]:
        home = system.home / "up"
        crash.arm(home, point, count)
        yield
        # It isn't over before each of them has died.
        system.until(lambda: crash.left(home, point) == 0, 60, f"crashed at {point.value}")

    return inject


@contextmanager
def stopped(system: System, name: str, number: int = signal.SIGTERM, *, wipe: bool = False) -> Iterator[None]:
    """Stop a server with a signal, and start it again at the end, on no data where ``wipe`` says so."""
    system.signal_server(name, number, all_of_it=number == signal.SIGKILL)
    system.wait_gone(name)
    system.services.halt(name)
    if wipe:
        server: Any = system.services._servers[name]
        server.destroy()
    try:
        yield
    finally:
        system.services.resume(name)


@contextmanager
def frozen(system: System, name: str) -> Iterator[None]:
    """SIGSTOP a server with all its processes, SIGCONT at the end."""
    system.signal_server(name, signal.SIGSTOP)
    try:
        yield
    finally:
        system.signal_server(name, signal.SIGCONT)


@contextmanager
def memory_alarm(system: System) -> Iterator[None]:
    system.rabbitmqctl("set_vm_memory_high_watermark", "0.0000001")
    try:
        yield
    finally:
        system.rabbitmqctl("set_vm_memory_high_watermark", "0.4")


def connections_closed(system: System) -> Any:
    return _each_second(lambda: system.rabbitmqctl("close_all_connections", "fault"), 3.0)


def queue_deleted(system: System) -> Any:
    def delete() -> None:
        with Connection(system.env["BROKER_URL"]) as connection:
            channel: Any = connection.channel()
            channel.queue_delete(queue_name(random.choice(list(Lane))))

    return _each_second(delete, 2.0)


def backends_terminated(system: System) -> Any:
    return _each_second(
        lambda: system.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"), 1.0
    )


@contextmanager
def connections_exhausted(system: System) -> Iterator[None]:
    """Take every connection that the server has left, and those of who is ended meanwhile."""
    taken: list[Any] = [system.connect()]
    for _ in range(3):
        # Those that ours have free again at once are taken the next time round.
        with taken[0].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tiercel'")
        with suppress(psycopg2.Error):
            while len(taken) < 500:
                taken.append(system.connect())
    try:
        yield
    finally:
        for connection in taken:
            connection.close()


def deadlocks(system: System) -> Any:
    """Lock what apply locks, in the other order: first the entities, then the running events."""

    def lock() -> None:
        connection = system.connect()
        try:
            connection.autocommit = False
            with connection.cursor() as cursor:
                cursor.execute("SET deadlock_timeout = '20ms'; SET lock_timeout = '400ms'")
                cursor.execute("SELECT 1 FROM entity ORDER BY random() LIMIT 40 FOR UPDATE")
                cursor.execute("SELECT 1 FROM event WHERE status = 1 FOR UPDATE")
            connection.rollback()
        finally:
            connection.close()

    return _each_second(lock, 0.05)


@contextmanager
def disk_full(system: System) -> Iterator[None]:
    """Let every write of an event or an entity fail as on a full disk (53100)."""
    system.sql(
        "CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
    )
    for table in ("event", "entity"):
        system.sql(
            f"CREATE TRIGGER fault BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION fault()"
        )
    try:
        yield
    finally:
        for table in ("event", "entity"):
            system.sql(f"DROP TRIGGER fault ON {table}")


def redis_flushed(system: System) -> Any:
    """Forget every lock and every mark while they are held: to their holders it is as if all had expired."""
    redis = Redis.from_url(system.env["REDIS_URL"])
    return _each_second(redis.flushall, 0.02)


@contextmanager
def nothing(_system: System) -> Iterator[None]:
    yield


def proxied(service: str, mode: str) -> Injection:
    """Let a service's connections misbehave."""

    @contextmanager
    def inject(system: System) -> Iterator[None]:
        system.misbehave(service, mode)
        try:
            yield
        finally:
            system.misbehave(service, "pass")

    return inject


@contextmanager
def deploy(system: System) -> Iterator[None]:
    """Run a migration as `tiercel db upgrade` would, then restart every process in order, each with TERM."""
    for statement in (
        "SET lock_timeout = '5s'; ALTER TABLE event ADD COLUMN next_release text",
        "SET lock_timeout = '5s'; CREATE INDEX next_release_idx ON entity (applied_at)",
    ):
        for _ in range(20):
            with suppress(psycopg2.errors.LockNotAvailable):
                system.sql(statement)
                break
    for name in ("web", "worker-high", "worker-medium", "worker-low", "dispatcher", "beat"):
        process = system.leader(name)
        process.terminate()
        process.wait(90)
        system.until(lambda name=name, old=process.pid: _is_another(system, name, old), 30, f"{name} restarted")  # type: ignore[misc]  # bound now
        system.until(system.ready, 30, "ready again")
    yield
    system.sql("DROP INDEX next_release_idx; ALTER TABLE event DROP COLUMN next_release")


def _is_another(system: System, name: str, old: int) -> bool:
    with suppress(OSError, ValueError, psutil.Error):
        return system.leader(name).pid != old
    return False


_LANES = ("worker-high", "worker-medium", "worker-low")

FAULTS: tuple[Fault, ...] = (
    Fault("no fault at all", nothing, 0),
    Fault("receiver killed", killed("web", every_s=6), 8, short=True),
    Fault("receiver's process killed", killed("web", child=True, every_s=1)),
    Fault("receiver killed between commit and answer", crashing(Point.AFTER_STORE), short=True),
    *(Fault(f"{name} killed", killed(name, every_s=5), 8) for name in _LANES),
    *(Fault(f"{name}'s process killed", killed(name, child=True, every_s=1)) for name in _LANES),
    Fault("worker killed between claim and commit", crashing(Point.AFTER_CLAIM), short=True),
    Fault("worker killed between commit and ack", crashing(Point.BEFORE_ACK), short=True),
    Fault("beat killed", killed("beat")),
    Fault("dispatcher killed", killed("dispatcher")),
    Fault("dispatcher frozen", lambda system: frozen_process(system, "dispatcher"), 8),
    Fault("worker-high frozen", lambda system: frozen_process(system, "worker-high"), 10),
    Fault("RabbitMQ stopped", lambda system: stopped(system, "rabbitmq"), 5),
    Fault("RabbitMQ frozen", lambda system: frozen(system, "rabbitmq"), 15),
    Fault("RabbitMQ closes every connection", connections_closed),
    Fault("RabbitMQ's queues deleted", queue_deleted),
    Fault("RabbitMQ's memory alarm", memory_alarm, 5),
    Fault(
        "RabbitMQ's data wiped", lambda system: stopped(system, "rabbitmq", signal.SIGKILL, wipe=True), 2, short=True
    ),
    Fault("PostgreSQL restarted, fast", lambda system: stopped(system, "postgresql", signal.SIGINT), 3),
    Fault(
        "PostgreSQL restarted, immediate", lambda system: stopped(system, "postgresql", signal.SIGQUIT), 3, short=True
    ),
    Fault("PostgreSQL's backends terminated", backends_terminated, short=True),
    Fault("PostgreSQL frozen", lambda system: frozen(system, "postgresql"), 8),
    Fault("PostgreSQL without a connection to give", connections_exhausted, 5),
    Fault("deadlocks forced", deadlocks),
    Fault("disk full", disk_full),
    Fault("Redis killed", lambda system: stopped(system, "redis", signal.SIGKILL), 5, short=True),
    Fault("Redis flushed, every lock expires under its holder", redis_flushed),
    Fault("Redis frozen", lambda system: frozen(system, "redis"), 8),
    Fault("clocks of senders jump", nothing, 0, future=0.1),
    Fault("a deploy with a migration", deploy, 0, times=4),
    *(
        Fault(f"{service} behind a proxy that does {mode}", proxied(service, mode), proxied=True)
        for service in ("postgresql", "rabbitmq", "redis")
        for mode in ("delay", "reset", "cut", "hole")
    ),
)
