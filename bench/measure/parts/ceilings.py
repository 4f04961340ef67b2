"""Owns what the servers and libraries below could do at most: rates that nothing built on them can pass."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import psycopg2
import psycopg2.extras
from kombu import Connection

from bench.harness.children import program, running, served
from bench.harness.events import Stream
from bench.harness.figures import Point, Results, Series, point
from bench.harness.system import System, depth
from bench.measure.parts.ingest import saturate, warm
from bench.measure.parts.sizes import Sizes
from bench.peers.shop import SCHEMA
from deploy.local.processes import wait_until

THREADS = 8
GROUPS = (1, 4, 16, 64, 100, 256)
PUBLISHED = (1, 10, 100, 500)
NOOP_QUEUE = "bench.measure.noop"
_NOOP_PROCESSES = 2
_ENTITIES = 10_000
_DATA = '{"amount":"19.90","currency":"EUR","id":"1234","name":"bench","updated_at":"2026-01-01T00:00:00Z"}'
_TABLES = f"""
CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.row (id uuid PRIMARY KEY, body text NOT NULL);
CREATE TABLE {SCHEMA}.guarded (id int PRIMARY KEY, version bigint NOT NULL, body text NOT NULL);
"""
_INSERT = f"INSERT INTO {SCHEMA}.row (id, body) SELECT * FROM unnest(%s::uuid[], %s::text[])"
_UPSERT = f"""
INSERT INTO {SCHEMA}.guarded AS g SELECT * FROM unnest(%s::int[], %s::bigint[], %s::text[])
ON CONFLICT (id) DO UPDATE SET version = excluded.version, body = excluded.body WHERE g.version < excluded.version
"""


def measure(system: System, sizes: Sizes, results: Results) -> None:
    """Add the ceilings and the picture of throughput over batch size."""
    url = system.target.settings.database_url.replace("+psycopg2", "")
    seconds, rounds = sizes.ceiling_s, sizes.rounds
    found: dict[str, dict[int, list[float]]] = {}
    with served("bench.measure.noop:flask_app") as (_, port), _tables(url):
        warm(system.host, port, Stream(system.sender))
        for _ in range(rounds):
            web = saturate(system.host, port, Stream(system.sender), seconds)
            found.setdefault("no-op Flask route", {}).setdefault(1, []).append(web.per_s)
            for size in GROUPS:
                for name, write in (("multi-row INSERT", _insert), ("guarded upsert", _upsert)):
                    rate = _database(url, size, write, seconds)
                    found.setdefault(name, {}).setdefault(size, []).append(rate)
            for size in PUBLISHED:
                rate = _published(system.target.settings.broker_url, size, seconds)
                found.setdefault("publish with pipelined confirms", {}).setdefault(size, []).append(rate)
            rate = _noop_tasks(system.target.settings.broker_url, round(8000 * seconds))
            found.setdefault("no-op Celery task, prefork 2", {}).setdefault(1, []).append(rate)
    for name, by_size in found.items():
        shown = {
            "multi-row INSERT": (1, 16, 100),
            "guarded upsert": (100,),
            "publish with pipelined confirms": (1, 500),
        }
        for size in shown.get(name, (1,)):
            results.add("ceilings", f"{name} of {size}" if name in shown else name, "/s", by_size[size])
    lines: dict[str, list[Point]] = {
        name: [point(size, values) for size, values in by_size.items()]
        for name, by_size in found.items()
        if len(by_size) > 1
    }
    results.series["throughput-over-batch"] = Series(
        "Events a second over how many go together",
        "events a statement, or messages a confirm",
        "/s",
        lines,
        True,
        True,
    )


@contextmanager
def _tables(url: str) -> Iterator[None]:
    with _session(url) as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; {_TABLES}")
    try:
        yield
    finally:
        with _session(url) as cursor:
            cursor.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


@contextmanager
def _session(url: str) -> Iterator[Any]:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def _insert(cursor: Any, size: int, _number: int) -> None:
    cursor.execute(_INSERT, ([str(uuid.uuid4()) for _ in range(size)], [_DATA] * size))


def _upsert(cursor: Any, size: int, number: int) -> None:
    # One block of entities a statement, blocks in turn: no two threads meet, and every row is newer.
    first = number * size % _ENTITIES
    cursor.execute(_UPSERT, (list(range(first, first + size)), [time.time_ns()] * size, [_DATA] * size))


def _database(url: str, size: int, write: Callable[[Any, int, int], None], seconds: float) -> float:
    """Return how many rows a second eight connections commit."""
    counts = [0] * THREADS
    end = time.monotonic() + seconds

    def work(mine: int) -> None:
        with _session(url) as cursor:
            number = mine
            while time.monotonic() < end:
                write(cursor, size, number)
                number += THREADS
                counts[mine] += size

    began = time.monotonic()
    threads = [threading.Thread(target=work, args=(mine,), daemon=True) for mine in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


def _published(url: str, size: int, seconds: float) -> float:
    """Return how many persistent, mandatory messages a second are confirmed, waiting after each ``size`` of them."""
    with Connection(url) as connection:
        channel: Any = connection.default_channel
        queue = channel.queue_declare("", exclusive=True).queue
        channel.confirm_select()
        waiting: set[int] = set()

        def confirmed(tag: int, multiple: bool) -> None:  # noqa: FBT001  # amqp's
            waiting.difference_update([t for t in waiting if t <= tag] if multiple else [tag])

        channel.events["basic_ack"].add(confirmed)
        tag, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            for _ in range(size):
                tag += 1
                waiting.add(tag)
                message = amqp.Message(_DATA, delivery_mode=2)
                channel.basic_publish(message, exchange="", routing_key=queue, mandatory=True)
            while waiting:
                connection.drain_events(timeout=10)
        return tag / (time.monotonic() - began)


def _noop_tasks(url: str, count: int) -> float:
    """Return how many tasks that do nothing two worker processes run a second."""
    from bench.measure.noop_task import noop  # noqa: PLC0415  # reads the settings of the run that is under way

    command = [program("celery"), "--app", "bench.measure.noop_task:celery", "--quiet", "worker", "--concurrency"]
    command += [str(_NOOP_PROCESSES), "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    with Connection(url) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare(NOOP_QUEUE, durable=True, auto_delete=False)
        channel.queue_purge(NOOP_QUEUE)
        try:
            for _ in range(count):
                noop.delay()
            with running([command], lambda: depth(url, NOOP_QUEUE) < count):
                began, at_first = time.monotonic(), depth(url, NOOP_QUEUE)
                wait_until(lambda: depth(url, NOOP_QUEUE) == 0, 120)
                return at_first / (time.monotonic() - began)
        finally:
            channel.queue_delete(NOOP_QUEUE)
