"""Owns ``make soak`` part 1: mutated requests against a running receiver, and what must still hold afterwards.

Only 2xx and 4xx, nothing of an unverified body kept, logged or sent back, and a good event still gets through.
"""

import argparse
import itertools
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import func, select

from app.db.engine import transaction
from app.models import Event, Outcome, Source, Status
from app.sources.kinds import KINDS
from bench.harness.target import NotRunning, Sender, Target, find_target, senders
from bench.soak import leaks
from bench.soak.bodies import to_json
from bench.soak.call import Call, Said, call
from bench.soak.mutants import calls
from bench.soak.sound import SOURCES, sound

THREADS = 4
_END_S = 180.0
_SHOWN_OF_A_KIND = 3


@dataclass(slots=True)
class Report:
    """What became of a run."""

    seed: int
    sent: int = 0
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    """By mutation: how often each status came."""
    failures: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Of the events that were accepted."""

    def add(self, one: Call, said: Said, canary: str) -> None:
        """Count one answer, and note it where it must not be."""
        name = f"{one.mutation}{', signed' if one.verified else ''}"
        shown = "closed" if said.status is None else str(said.status)
        self.statuses.setdefault(name, Counter())[shown] += 1
        start = one.to_bytes().partition(b"\r\n\r\n")
        where = f"{name}: {start[0][:300]!r} + {start[2][:80]!r}"
        if said.timed_out:
            self.failures.append(f"no answer in time to {where}")
        elif said.status is not None and not (200 <= said.status < 300 or 400 <= said.status < 500):
            self.failures.append(f"{said.status} to {where}")
        elif (
            not one.verified
            and said.status is not None
            and said.status < 300
            and one.path.startswith(b"/webhooks/")
            and one.method == b"POST"
        ):
            self.failures.append(f"{said.status} to what isn't rightly signed: {where}")
        if canary.encode() in said.raw:
            self.failures.append(f"an unverified body is sent back: {where}")


def fuzz(target: Target, seed: int, count: int) -> tuple[Report, str]:
    """Send ``count`` mutated requests and check what must hold afterwards; return that and the canary of the bodies.

    Raises:
        NotRunning: the database or the receiver is gone.
    """
    canary = f"canary{secrets.token_hex(8)}"
    report = Report(seed)
    with senders(target, SOURCES) as (made, key):
        _send(target, report, seed, count, made, canary, key)
        _check_alive(target, report, made)
        _check_ended(target, report, made)
    report.failures += [f"an unverified body is kept: {found}" for found in leaks.in_database(target.engine, canary)]
    return report, canary


def _send(
    target: Target, report: Report, seed: int, count: int, made: Mapping[str, Sender], canary: str, key: str
) -> None:
    source = calls(seed, count, made, canary, key)
    lock = threading.Lock()

    def run(_thread: int) -> int:
        sent = 0
        while True:
            with lock:
                one = next(source, None)
            if one is None:
                return sent
            said = call(target.host, target.port, one)
            sent += 1
            with lock:
                report.add(one, said, canary)

    with ThreadPoolExecutor(THREADS) as pool:
        report.sent = sum(pool.map(run, range(THREADS)))


def _check_alive(target: Target, report: Report, made: Mapping[str, Sender]) -> None:
    with target.door() as door:
        ready = door.send("GET", "/readyz")
        if ready.status != 200:
            report.failures.append(f"/readyz is {ready.status} afterwards: {ready.body[:200]!r}")
        for sender in made.values():
            body = to_json({**sound(sender.kind, 0, f"good-{secrets.token_hex(4)}")})
            headers = sender.sign(f"good-{secrets.token_hex(8)}", "price.updated", body, time.time())
            answer = door.send(
                "POST", f"/webhooks/{sender.name}", body, {"content-type": "application/json", **headers}
            )
            if answer.status != KINDS[sender.kind].accepted_status:
                report.failures.append(f"a good event of {sender.kind} got {answer.status} {answer.title} afterwards")
                continue
            outcome = _outcome(target, answer.json()["id"])
            if outcome is not Outcome.APPLIED:
                report.failures.append(f"a good event of {sender.kind} ended as {outcome} afterwards")


def _outcome(target: Target, event_id: str) -> Outcome | None:
    for _ in itertools.takewhile(lambda end: time.monotonic() < end, itertools.repeat(time.monotonic() + _END_S)):
        with transaction(target.engine) as session:
            outcome = session.scalars(select(Event.outcome).where(Event.id == event_id)).one_or_none()
        if outcome is not None:
            return outcome
        time.sleep(0.1)
    return None


def _check_ended(target: Target, report: Report, made: Mapping[str, Sender]) -> None:
    """Every event that was accepted must end, and not as dead: whatever passes the door can be applied."""
    ours = (
        select(Event)
        .join(Source, Source.id == Event.source_id)
        .where(Source.name.in_([s.name for s in made.values()]))
    )
    waiting = select(func.count()).select_from(
        ours.where(Event.status.in_([Status.PENDING, Status.PROCESSING])).with_only_columns(Event.id).subquery()
    )
    end = time.monotonic() + _END_S
    while True:
        with transaction(target.engine) as session:
            left = session.scalars(waiting).one()
        if not left or time.monotonic() > end:
            break
        time.sleep(0.2)
    if left:
        report.failures.append(f"{left} accepted events haven't ended after {_END_S:g} s")
    with transaction(target.engine) as session:
        counted = ours.with_only_columns(Event.outcome, func.count()).group_by(Event.outcome)
        report.outcomes.update(
            {outcome.name.lower() if outcome else "none": n for outcome, n in session.execute(counted)}
        )
        dead = ours.where(Event.outcome == Outcome.DEAD).with_only_columns(Event.id, Event.error, Event.payload)
        for event_id, error, payload in session.execute(dead.limit(20)):
            report.failures.append(f"event {event_id} is dead: {error}: {payload[:200]}")


def _table(report: Report) -> Table:
    statuses = sorted({status for counts in report.statuses.values() for status in counts})
    table = Table(
        title="Answers by mutation", title_justify="left", title_style="bold", box=None, pad_edge=False, width=100
    )
    table.add_column("", ratio=1)
    for status in statuses:
        table.add_column(status, justify="right", style="red" if status.startswith("5") else "")
    for name, counts in sorted(report.statuses.items()):
        table.add_row(name, *(f"{counts[status]:,}" if counts[status] else "·" for status in statuses))
    return table


def main() -> int:
    """Fuzz, show, and return the exit status: 1 where something doesn't hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak.fuzz", description="Send mutated requests.")
    parser.add_argument("--count", type=int, default=50_000, help="requests (%(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run's mutations")
    parser.add_argument("--logs", type=Path, action="append", default=[], help="a log, or a folder of logs, to search")
    words = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 100)
    seed = secrets.randbits(32) if words.seed is None else words.seed
    try:
        began = time.monotonic()
        report, canary = fuzz(find_target(), seed, words.count)
    except NotRunning as error:
        Console(stderr=True, soft_wrap=True).print(f"soak: {error}", highlight=False, markup=False)
        return 1
    report.failures += [f"an unverified body is logged: {found}" for found in leaks.in_logs(words.logs, canary)]
    console.print(_table(report), "")
    ended = ", ".join(f"{count:,} {name}" for name, count in report.outcomes.most_common())
    console.print(f"{report.sent:,} requests in {time.monotonic() - began:.0f} s, seed {seed}", highlight=False)
    console.print(f"of the accepted events: {ended}", highlight=False)
    if not words.logs:
        console.print("[yellow]no log was searched: give --logs PATH[/yellow]")
    shown = Counter[str]()
    for failure in report.failures:
        kind = failure.partition(": ")[0]
        shown[kind] += 1
        if shown[kind] <= _SHOWN_OF_A_KIND:
            console.print(f"[red]✗ {escape(failure)}[/red]", highlight=False, soft_wrap=True)
    for kind, count in shown.items():
        if count > _SHOWN_OF_A_KIND:
            console.print(f"[red]… {count} in all: {escape(kind)}[/red]", highlight=False)
    if not report.failures:
        console.print(
            "[green]✓ only 2xx and 4xx; nothing unverified kept, logged or sent back; good events applied[/green]"
        )
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
