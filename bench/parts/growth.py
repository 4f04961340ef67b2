"""Owns what a full table costs: the same measurements on an empty inbox and on one with millions of ended events.

The rows are made in the database itself, as a month of events would have left them. Only for a private system: they
are not taken away again.
"""

import shutil
import statistics
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

import psycopg2
from sqlalchemy import text

from bench.figures import Bound, Figure, Point, Results, Series, point
from bench.parts import drain, idle, ingest, sustained
from bench.parts.sizes import Sizes
from bench.progress import tell
from bench.system import System
from bench.target import NotRunning

_CHUNK = 200_000
_BYTES_A_ROW = 2500
"""With indexes and the log of writing them, generously."""
_SHARE = 0.9
_EVENTS = """
INSERT INTO event (id, source_id, external_id, type, entity_type, entity_id, operation, version, fingerprint, state,
                   fact, payload, data_pointer, lane, priority, status, outcome, received_at, due_at, dispatched_at,
                   claimed_at, attempts, finished_at)
SELECT (lpad(to_hex((extract(epoch FROM x.at) * 1000)::bigint), 12, '0') || '7' || substr(md5(x.n::text), 1, 3)
        || '8' || substr(md5(x.n::text), 4, 15))::uuid,
       s.id, 'grown-' || x.n, x.noun || '.updated', x.noun, (x.n %% %(entities)s)::text, 1, extract(epoch FROM x.at),
       sha256(x.n::text::bytea), true, false,
       '{"data":{"amount":"19.90","currency":"EUR","id":"' || x.n || '","name":"grown"},"type":"' || x.noun || '"}',
       '/data', x.lane, 5, 2, 1, x.at, x.at, x.at, x.at, 0, x.at + interval '5 ms'
FROM (SELECT n, now() - interval '20 days' + n * (interval '19 days' / %(rows)s) AS at,
             CASE WHEN n %% 10 < 1 THEN 'price' WHEN n %% 10 < 4 THEN 'segment' ELSE 'log' END AS noun,
             CASE WHEN n %% 10 < 1 THEN 0 WHEN n %% 10 < 4 THEN 1 ELSE 2 END AS lane
      FROM generate_series(%(first)s, %(last)s) n) x, source s
WHERE s.name = %(source)s
"""
_KEYS = """
INSERT INTO event_key (source_id, digest, event_id, fingerprint, lane, seen_at)
SELECT s.id, sha256(('grown-' || n)::bytea), gen_random_uuid(), sha256(n::text::bytea), 2,
       now() - interval '20 days' + n * (interval '19 days' / %(rows)s)
FROM generate_series(%(first)s, %(last)s) n, source s WHERE s.name = %(source)s
"""


def measure(system: System, sizes: Sizes, results: Results) -> None:
    """Add each value on the full table over its value on the empty one, and the picture of cost over size."""
    steps = [0, sizes.growth_rows // 100, sizes.growth_rows // 10, sizes.growth_rows]
    found: dict[str, dict[int, list[float]]] = {}
    filled = 0
    for rows in steps:
        tell(f"the same on {rows:,} rows")
        if rows > filled:
            fill(system, filled, rows, sizes.growth_rows)
            filled = rows
        for name, values in _values(system, sizes).items():
            found.setdefault(name, {})[rows] = values
    first, last = steps[0], steps[-1]
    for name, by_rows in found.items():
        better_below = name.endswith(" ms")
        for rows in (first, last):
            unit = "ms" if better_below else "/s"
            results.add("growth", f"{name.removesuffix(' ms')}, {rows:,} rows before", unit, by_rows[rows])
        empty, full = statistics.median(by_rows[first]), statistics.median(by_rows[last])
        share = empty / full if better_below else full / empty
        results.figures.append(
            Figure("growth", f"{name.removesuffix(' ms')}: kept", "times", [share], Bound(at_least=_SHARE))
        )
    results.series["cost-over-rows"] = _picture(found)


def _values(system: System, sizes: Sizes) -> dict[str, list[float]]:
    few = replace(sizes, peers=False)
    held = [sustained.highest(system, few, sizes.start_per_s) for _ in range(min(sizes.rounds, 3))]
    quiet = [idle.one_round(system, sizes)[1] for _ in range(sizes.rounds)]
    return {
        "ingest": ingest.rate_alone(system, few),
        "sustained": [one.rate for one in held],
        "drain": [drain.one_round(system, sizes.drain_events) for _ in range(sizes.rounds)],
        "idle, accepted → applied p50 ms": [one.p50 for one in quiet],
        "idle, accepted → applied p99 ms": [one.p99 for one in quiet],
    }


def fill(system: System, first: int, last: int, rows: int) -> None:
    """Add the rows from one number to another of ``rows`` altogether.

    Raises:
        NotRunning: the disk is too small for them.
    """
    free = shutil.disk_usage(Path(gettempdir())).free
    if free < (last - first) * _BYTES_A_ROW:
        raise NotRunning(f"{last - first:,} rows want {(last - first) * _BYTES_A_ROW / 1e9:.0f} GB of disk")
    url = system.target.settings.database_url.replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for start in range(first + 1, last + 1, _CHUNK):
                values = {"first": start, "last": min(start + _CHUNK - 1, last), "rows": rows}
                values["entities"] = max(1000, rows // 10)
                for statement in (_EVENTS, _KEYS):
                    cursor.execute(statement, {**values, "source": system.sender.name})
            # What autovacuum would have done by then, so that it doesn't do it during the measurement.
            for table in ("event", "event_key"):
                cursor.execute(f"VACUUM (ANALYZE) {table}")
            cursor.execute("CHECKPOINT")
    _await_quiet(system)


def _await_quiet(system: System) -> None:
    """Return once no vacuum runs any more."""
    query = text("SELECT count(*) FROM pg_stat_progress_vacuum")
    while True:
        with system.target.engine.connect() as connection:
            if not connection.execute(query).scalar_one():
                return
        time.sleep(0.5)


def _picture(found: dict[str, dict[int, list[float]]]) -> Series:
    """Return everything relative to the empty table: 1 costs nothing."""
    lines: dict[str, list[Point]] = {}
    for name, by_rows in found.items():
        base = statistics.median(by_rows[0])
        for rows, values in by_rows.items():
            shares = [base / value if name.endswith(" ms") else value / base for value in values if value]
            lines.setdefault(name.removesuffix(" ms"), []).append(point(max(rows, 1000), shares))
    return Series(
        "What is kept of each value as the table grows",
        "events in the table",
        "times the empty table's",
        lines,
        log_x=True,
    )
