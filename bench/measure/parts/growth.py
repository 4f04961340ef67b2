"""Owns what a full table costs: the same measurements on an empty inbox and on one with millions of ended events.

Both run at once, each a whole private system, and are measured in turn: over the time that filling takes, a machine
changes by more than what is looked for. The rows are made in the database itself, as a month of events would have left
them, and are not taken away again.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

import psycopg2
from sqlalchemy import text

from app.models import Lane, Outcome, Status
from bench.harness.events import Stream
from bench.harness.figures import Bound, Results, Series, point
from bench.harness.private import private_system
from bench.harness.progress import tell
from bench.harness.system import System
from bench.harness.target import NotRunning, find_target, senders
from bench.measure.parts import drain, idle, ingest, sustained
from bench.measure.parts.sizes import Sizes

_CHUNK = 200_000
_BYTES_A_ROW = 2500
"""With indexes and the log of writing them, generously."""
_SHARE = 0.9
_MS = " ms"
"""What such a name ends with is better below."""
_EVENTS = f"""
INSERT INTO event (id, source_id, external_id, type, entity_type, entity_id, operation, version, fingerprint, state,
                   fact, payload, data_pointer, lane, priority, status, outcome, received_at, due_at, dispatched_at,
                   claimed_at, attempts, finished_at)
SELECT (lpad(to_hex((extract(epoch FROM x.at) * 1000)::bigint), 12, '0') || '7' || substr(md5(x.n::text), 1, 3)
        || '8' || substr(md5(x.n::text), 4, 15))::uuid,
       s.id, 'grown-' || x.n, x.noun || '.updated', x.noun, (x.n %% %(entities)s)::text, 1, extract(epoch FROM x.at),
       sha256(x.n::text::bytea), true, false,
       '{{"data":{{"amount":"19.90","currency":"EUR","id":"' || x.n || '","name":"grown"}},"type":"'
       || x.noun || '"}}',
       '/data', x.lane, 5, {Status.COMPLETED:d}, {Outcome.APPLIED:d}, x.at, x.at, x.at, x.at, 0, x.at + interval '5 ms'
FROM (SELECT n, now() - interval '20 days' + n * (interval '19 days' / %(rows)s) AS at,
             CASE WHEN n %% 10 < 1 THEN 'price' WHEN n %% 10 < 4 THEN 'segment' ELSE 'log' END AS noun,
             CASE WHEN n %% 10 < 1 THEN {Lane.HIGH:d}
                  WHEN n %% 10 < 4 THEN {Lane.MEDIUM:d} ELSE {Lane.LOW:d} END AS lane
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
    steps = [sizes.growth_rows // 100, sizes.growth_rows // 10, sizes.growth_rows]
    kept: dict[str, dict[int, list[float]]] = {}
    few = replace(sizes, peers=False, rounds=1)
    with another_system() as empty:
        filled = 0
        for rows in steps:
            tell(f"beside each other: an empty inbox, and one of {rows:,} rows")
            fill(system, filled, rows, sizes.growth_rows)
            filled = rows
            found: dict[str, list[tuple[float, float]]] = {}
            # The steps on the way are for the picture.
            for _ in range(sizes.rounds if rows == steps[-1] else 1):
                for take in (_ingest, _sustained, _drain, _idle):
                    without, beside = take(empty, few), take(system, few)
                    for name, value in without.items():
                        found.setdefault(name, []).append((value, beside[name]))
            for name, pairs in found.items():
                kept.setdefault(name, {})[rows] = [_kept(name, *pair) for pair in pairs]
    for name, pairs in found.items():
        for count, values in zip((0, filled), zip(*pairs, strict=True), strict=True):
            unit = "ms" if name.endswith(_MS) else "/s"
            results.add("growth", f"{name.removesuffix(_MS)}, {count:,} rows before", unit, values)
        title = f"{name.removesuffix(_MS)}: kept"
        results.add("growth", title, "times", kept[name][filled], Bound(at_least=_SHARE))
    results.series["cost-over-rows"] = _picture(kept)


@contextmanager
def another_system() -> Iterator[System]:
    """Start a second private system beside the one that is measured; this process stays pointed at the first."""
    with ExitStack() as stack:
        before = dict(os.environ)
        home = stack.enter_context(private_system())
        target = find_target()
        os.environ.clear()
        os.environ.update(before)
        made, _ = stack.enter_context(senders(target, {"bench": ("standard", {})}))
        yield System(target, Stream(made["bench"]), home)


def _kept(name: str, without: float, beside: float) -> float:
    above, below = (without, beside) if name.endswith(_MS) else (beside, without)
    return above / below if below else 0.0


def _ingest(system: System, sizes: Sizes) -> dict[str, float]:
    return {"ingest": ingest.rate_alone(system, sizes)[0]}


def _sustained(system: System, sizes: Sizes) -> dict[str, float]:
    return {"sustained": sustained.highest(system, sizes, sizes.start_per_s).rate}


def _drain(system: System, sizes: Sizes) -> dict[str, float]:
    return {"drain": drain.one_round(system, sizes.drain_events)}


def _idle(system: System, sizes: Sizes) -> dict[str, float]:
    response, applied = idle.one_round(system, sizes)
    return {
        f"idle, response p50{_MS}": response.p50,
        f"idle, accepted → applied p50{_MS}": applied.p50,
        f"idle, accepted → applied p99{_MS}": applied.p99,
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


def _picture(kept: dict[str, dict[int, list[float]]]) -> Series:
    """Return everything relative to the empty table: 1 costs nothing."""
    lines = {
        name.removesuffix(_MS): [point(rows, shares) for rows, shares in by_rows.items()]
        for name, by_rows in kept.items()
    }
    return Series(
        "What is kept of each value as the table grows",
        "events in the table",
        "times the empty table's",
        lines,
        log_x=True,
    )
