"""Owns ``make soak`` part 2: made-up requests to every route of a running receiver, and what must still hold.

No key, a wrong one, a revoked one, or one that may only read: nothing is stored, nothing leaks, memory stays flat.
"""

import argparse
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.db.engine import transaction
from app.models import Scope
from app.security import api_keys
from bench.harness.target import NotRunning, Target, find_target, senders
from bench.soak import leaks, rows
from bench.soak.call import Said, call
from bench.soak.processes import Watch, web_processes
from bench.soak.routecalls import Asking, Who, calls, routes
from bench.soak.sound import SOURCES

THREADS = 4
_WARM_UP = 0.2
"""So many more, before anything is counted: caches are filled once, and each thread's heap has to have met the largest
body, which of 32 threads a process takes thousands of requests."""
_GROWS_MB, _GROWS_SHARE = 8.0, 0.05
_SHOWN = 12
_OK, _FAULT = range(200, 300), 500


@dataclass(slots=True)
class Report:
    """What became of a run."""

    seed: int
    sent: int = 0
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    """By caller: how often each status came."""
    failures: Counter[str] = field(default_factory=Counter)
    pss_mb: tuple[float, float] = (0.0, 0.0)
    """Of all processes of the receiver: in the first tenth, in the last."""

    def add(self, one: Asking, said: Said, hidden: Mapping[str, str]) -> None:
        """Count one answer, and note it where it must not be."""
        shown = "closed" if said.status is None else str(said.status)
        self.statuses.setdefault(one.who.value, Counter())[shown] += 1
        where = f"{one.route.method} {one.route.path} with {one.who.value}: {one.call.to_bytes()[:200]!r}"
        # With another method it may have met another route of the path, such as a GET that needs no more than reading.
        too_far = one.call.method == one.route.method.encode() and not one.route.may(one.who)
        if said.timed_out:
            self.failures[f"no answer in time to {where}"] += 1
        elif (said.status or 0) >= _FAULT or (said.status in _OK and too_far):
            self.failures[f"{said.status} to {where}"] += 1
        for name, text in hidden.items():
            if text.encode() in said.raw:
                self.failures[f"{name} is in the answer to {where}"] += 1


def soak(target: Target, seed: int, count: int) -> tuple[Report, dict[str, str]]:
    """Send ``count`` requests, and check what must hold afterwards; return that, and what must be in no log.

    Raises:
        NotRunning: the database or the receiver is gone.
    """
    report = Report(seed)
    with senders(target, SOURCES) as (made, read_key), _callers(target, next(iter(made.values())).name) as mine:
        given = {Who.READ: read_key, **mine}
        canary = f"canary{secrets.token_hex(8)}"
        given[Who.WRONG] = f"tk_{canary}{secrets.token_urlsafe(16)}"
        names = [sender.name for sender in made.values()]
        hidden = _hidden(target) | {f"the secret of {sender.name}": sender.secret for sender in made.values()}
        hidden |= {f"the {who.value}": key for who, key in given.items()}
        warm_up = int(count * _WARM_UP)
        every = calls(seed, warm_up + count, given, names, canary, routes())
        _send(target, report, every, warm_up, hidden, None)
        before = rows.digests(target.engine)
        with Watch(web_processes(target.port)) as watch:
            report.sent = _send(target, report, every, count, hidden, watch)
        report.pss_mb = watch.first_and_last_mb()
        report.failures.update(rows.changes(before, rows.digests(target.engine)))
        _check_flat(report)
        hidden["a canary"] = canary
        found = {
            f"{name} is in {where}": 1
            for name, text in hidden.items()
            for where in leaks.in_database(target.engine, text)
        }
        report.failures.update(found)
    return report, hidden


def _hidden(target: Target) -> dict[str, str]:
    settings = target.settings
    return {
        "TIERCEL_SECRET_KEYS": settings.secret_keys.get_secret_value(),
        "TIERCEL_KEY_PEPPER": settings.key_pepper.get_secret_value(),
        "DATABASE_URL's password": settings.database_url.partition("//")[2].rpartition("@")[0].partition(":")[2],
    }


@contextmanager
def _callers(target: Target, source: str) -> Iterator[dict[Who, str]]:
    """Make a read key of one source, and a key that is revoked already."""
    with transaction(target.engine) as session:
        limited, row = api_keys.make(session, target.vault, "soak, limited", Scope.READ, sources=[source])
        revoked, ended = api_keys.make(session, target.vault, "soak, revoked", Scope.ADMIN)
        api_keys.revoke(session, ended.id)
    try:
        yield {Who.LIMITED: limited, Who.REVOKED: revoked}
    finally:
        with transaction(target.engine) as session:
            api_keys.revoke(session, row.id)


def _send(
    target: Target,
    report: Report,
    source: Iterator[Asking],
    count: int,
    hidden: Mapping[str, str],
    watch: Watch | None,
) -> int:
    lock = threading.Lock()
    sent = 0

    def run(_thread: int) -> None:
        nonlocal sent
        while True:
            with lock:
                if sent >= count:
                    return
                sent += 1
                one = next(source)
                if watch is not None:
                    watch.at(sent / count)
            said = call(target.host, target.port, one.call)
            if watch is not None or (said.status or 0) >= _FAULT:
                with lock:
                    report.add(one, said, hidden)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS)))
    return sent


def _check_flat(report: Report) -> None:
    early, late = report.pss_mb
    if late - early > max(_GROWS_MB, early * _GROWS_SHARE):
        report.failures[f"the receiver's memory went from {early:.1f} to {late:.1f} MB"] += 1


def _table(report: Report) -> Table:
    statuses = sorted({status for counts in report.statuses.values() for status in counts})
    table = Table(title="Answers by caller", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("")
    for status in statuses:
        table.add_column(status, justify="right", style="red" if status.startswith("5") else "")
    for name, counts in sorted(report.statuses.items()):
        table.add_row(name, *(f"{counts[status]:,}" if counts[status] else "·" for status in statuses))
    return table


def main() -> int:
    """Send, show, and return the exit status: 1 where something doesn't hold."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak.routes", description="Send made-up requests to every route."
    )
    parser.add_argument("--count", type=int, default=100_000, help="requests (%(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run's requests")
    parser.add_argument("--logs", type=Path, action="append", default=[], help="a log, or a folder of logs, to search")
    words = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    seed = secrets.randbits(32) if words.seed is None else words.seed
    began = time.monotonic()
    try:
        report, hidden = soak(find_target(), seed, words.count)
    except NotRunning as error:
        Console(stderr=True, soft_wrap=True).print(f"soak: {error}", highlight=False, markup=False)
        return 1
    for name, text in hidden.items():
        report.failures.update({f"{name} is logged: {found}": 1 for found in leaks.in_logs(words.logs, text)})
    console.print(_table(report), "")
    early, late = report.pss_mb
    console.print(
        f"{report.sent:,} requests to {len(routes())} routes in {time.monotonic() - began:.0f} s, seed {seed}; "
        f"the receiver's PSS was {early:.1f} MB in the first tenth, {late:.1f} MB in the last",
        highlight=False,
    )
    _say(console, report, searched=bool(words.logs))
    return 1 if report.failures else 0


def _say(console: Console, report: Report, *, searched: bool) -> None:
    refused = sum(counts["429"] for counts in report.statuses.values())
    if refused > report.sent / 10:
        console.print(
            f"[yellow]{refused:,} were only told 429: start make up with ADDRESS_FAILURES_PER_S=1000000 "
            "ADDRESS_FAILURES_BURST=10000000 FAILURES_PER_S=1000000 to get further in[/yellow]"
        )
    if not searched:
        console.print("[yellow]no log was searched: give --logs PATH[/yellow]")
    for failure, times in report.failures.most_common(_SHOWN):
        console.print(f"[red]✗ {times} times {escape(failure)}[/red]", highlight=False, soft_wrap=True)
    if len(report.failures) > _SHOWN:
        console.print(f"[red]… {len(report.failures)} failures in all[/red]")
    if not report.failures:
        console.print(
            "[green]✓ no 5xx, nobody got further than their key; nothing stored, leaked or logged; memory flat[/green]"
        )


if __name__ == "__main__":
    sys.exit(main())
