"""Owns ``make bench`` part 1: how long acceptance and applying take, idle and at a steady rate, beside a bare commit.

The absolute bounds are for a machine of its own. On a shared one a bare commit of the same PostgreSQL, measured in
the same seconds, says what the machine could do: the bounds hold against that as well.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from random import Random

import psycopg2
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select
from standardwebhooks import Webhook

from app.db.engine import transaction
from app.models import Event, Lane, Outcome, Source, Status
from bench.harness.load import Shot, fire, request_bytes
from bench.harness.target import NotRunning, Sender, Target, find_target, senders

RESPONSE_MS, APPLIED_MS = 12.0, 45.0
COMMITS, COMMITS_MS = 4.0, 6.0
"""The bound against bare commits: 4 of them and 6 ms."""
IDLE_EVENTS = 50
MIX = {"price.updated": 10, "segment.updated": 30, "log.recorded": 60}
"""High, medium and low, in percent."""
_PROBE_S = 0.05
_END_S = 120.0
_POLL_S = 0.002
_MOST = 10_000_000


@dataclass(frozen=True, slots=True)
class Spread:
    """Some durations, in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    longest: float


@dataclass(slots=True)
class Report:
    """Everything that was measured."""

    rate: float
    seconds: float
    mix: Sequence[int]
    """High, medium and low, in percent."""
    idle: dict[str, Spread] = field(default_factory=dict)
    steady: dict[str, Spread] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    ended: int = 0
    lost: int = 0

    def bound_ms(self, absolute_ms: float) -> float:
        """Return a p95's bound: the absolute one, or 4 bare commits and 6 ms where that is more."""
        return max(absolute_ms, COMMITS * self.steady["one-row commit"].p95 + COMMITS_MS)

    def failures(self) -> list[str]:
        """Return what doesn't hold."""
        wrong = [f"{self.lost} accepted events are lost"] if self.lost else []
        refused = sum(count for status, count in self.statuses.items() if status != "202")
        wrong += [f"{refused} requests were not accepted"] if refused else []
        for name, absolute_ms in (("response", RESPONSE_MS), ("applied", APPLIED_MS)):
            if name not in self.steady or self.steady[name].p95 > self.bound_ms(absolute_ms):
                wrong.append(f"{name} p95 is above {self.bound_ms(absolute_ms):.1f} ms")
        return wrong


def spread(values_ms: Sequence[float]) -> Spread:
    """Return the spread of some durations; there must be one at least."""
    ranked = sorted(values_ms)
    at = [ranked[min(round(share * (len(ranked) - 1)), len(ranked) - 1)] for share in (0.5, 0.95, 0.99, 1)]
    return Spread(len(ranked), *(round(value, 2) for value in at))


def idle(target: Target, sender: Sender, key: str) -> dict[str, Spread]:
    """Send one event after another, each once the one before can be read.

    Raises:
        NotRunning: one wasn't accepted, or couldn't be read within 10 s.
    """
    webhook = Webhook(sender.secret)
    readable: list[float] = []
    response: list[float] = []
    with target.door() as door, target.door() as desk:
        for number in range(IDLE_EVENTS):
            now = datetime.now(UTC)
            data = {"id": f"idle/{number % 7}", "amount": "19.90", "currency": "EUR", "n": number}
            body = event_body("price.updated", now.timestamp(), data)
            external_id = f"idle-{number}"
            headers = {
                "Content-Type": "application/json",
                "webhook-id": external_id,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": webhook.sign(external_id, now, body.decode()),
            }
            answer = door.send("POST", f"/webhooks/{sender.name}", body, headers)
            if answer.status != 202:
                raise NotRunning(f"an event was answered {answer.status} {answer.title}")
            response.append(answer.took_s * 1000)
            path = f"/v1/entities/{sender.name}/price/idle/{number % 7}"
            while True:
                shown = desk.send("GET", path, headers={"Authorization": f"Bearer {key}"})
                took_s = time.monotonic() - answer.sent_at
                if shown.status == 200 and shown.json()["data"]["n"] == number:
                    break
                if took_s > 10:
                    raise NotRunning("an event can't be read 10 s after it was accepted: do the workers run?")
                time.sleep(_POLL_S)
            readable.append(took_s * 1000)
    applied, _ = _applied(target, sender)
    return {"response": spread(response), "sent → readable over HTTP": spread(readable), "applied": spread(applied)}


def steady(target: Target, sender: Sender, report: Report) -> None:
    """Send ``rate`` events a second for ``seconds``, and commit a row every 50 ms beside it; fill the report."""
    requests = _requests(sender, round(report.rate * report.seconds), report.rate, report.mix)
    with _commits(target) as commits_ms:
        shots = fire(target.host, target.port, requests, report.rate)
        took = list(commits_ms)
    accepted = {json.loads(shot.body)["id"] for shot in shots if shot.status == 202}
    for shot in shots:
        report.statuses[str(shot.status)] = report.statuses.get(str(shot.status), 0) + 1
    report.accepted = len(accepted)
    report.steady["response"] = _spread_of(shots, 0.0)
    report.steady["response, from when it was due"] = _spread_of(shots, 1.0)
    report.ended = _await_end(target, sender, len(accepted))
    report.lost = report.accepted - report.ended
    applied, by_lane = _applied(target, sender)
    if applied:
        report.steady["applied"] = spread(applied)
    for lane, values in by_lane.items():
        report.steady[f"applied, {lane.name.lower()}"] = spread(values)
    report.steady["one-row commit"] = spread(took)


def _spread_of(shots: Sequence[Shot], late: float) -> Spread:
    return spread([(shot.took_s + late * shot.late_s) * 1000 for shot in shots])


def _requests(sender: Sender, count: int, rate: float, mix: Sequence[int]) -> list[bytes]:
    dice = Random(count)
    began = time.time()
    made: list[bytes] = []
    for number, event_type in enumerate(dice.choices(list(MIX), mix, k=count)):
        entity_id = f"{number}" if event_type == "log.recorded" else f"{dice.randrange(1000)}"
        data = {"id": entity_id, "amount": "19.90", "currency": "EUR", "name": "steady", "n": number}
        body = event_body(event_type, began + number / rate, data)
        # Signed before, so that signing costs the measurement nothing; valid for 5 minutes either way.
        headers = sender.sign(f"steady-{number}", event_type, body, began + number / rate)
        made.append(request_bytes(f"/webhooks/{sender.name}", body, {"Content-Type": "application/json", **headers}))
    return made


def event_body(event_type: str, at: float, data: dict[str, object]) -> bytes:
    """Return the body of a Standard Webhooks event of Unix time ``at``."""
    told = datetime.fromtimestamp(at, UTC).isoformat()
    return json.dumps({"type": event_type, "timestamp": told, "data": {**data, "updated_at": told}}).encode()


@contextmanager
def _commits(target: Target) -> Iterator[list[float]]:
    """Commit one row every 50 ms in a thread; the list holds how long each took, in ms."""
    took_ms: list[float] = []
    done = threading.Event()
    url = target.settings.database_url.replace("+psycopg2", "")
    connection = psycopg2.connect(url)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE IF NOT EXISTS bench_commit (at timestamptz NOT NULL)")
    connection.commit()

    def run() -> None:
        while not done.wait(_PROBE_S):
            began = time.monotonic()
            cursor.execute("INSERT INTO bench_commit VALUES (now())")
            connection.commit()
            took_ms.append((time.monotonic() - began) * 1000)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield took_ms
    finally:
        done.set()
        thread.join()
        cursor.execute("DROP TABLE bench_commit")
        connection.commit()
        connection.close()


def _await_end(target: Target, sender: Sender, wanted: int) -> int:
    """Return how many events have ended, once all have or no more do for a while."""
    ended = (Status.COMPLETED, Status.FAILED)
    query = (
        select(func.count())
        .select_from(Event)
        .join(Source, Source.id == Event.source_id)
        .where(Source.name == sender.name, Event.status.in_(ended))
    )
    until = time.monotonic() + _END_S
    while True:
        with transaction(target.engine) as session:
            count = session.scalars(query).one()
        if count >= wanted or time.monotonic() > until:
            return count
        time.sleep(0.2)


def _applied(target: Target, sender: Sender) -> tuple[list[float], dict[Lane, list[float]]]:
    """Return acceptance → applied, in ms, of a source's applied events: all, and by lane."""
    took_ms = func.extract("epoch", Event.finished_at - Event.received_at) * 1000
    query = select(Event.lane, took_ms).join(Source, Source.id == Event.source_id)
    by_lane: dict[Lane, list[float]] = {}
    with transaction(target.engine) as session:
        for lane, took in session.execute(query.where(Source.name == sender.name, Event.outcome == Outcome.APPLIED)):
            by_lane.setdefault(lane, []).append(float(took))
    return [value for values in by_lane.values() for value in values], dict(sorted(by_lane.items()))


def _table(title: str, rows: dict[str, Spread]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", width=100, box=None, pad_edge=False)
    table.add_column("ms", ratio=1)
    for name in ("events", "p50", "p95", "p99", "longest"):
        table.add_column(name, justify="right")
    for name, row in rows.items():
        values = (f"{value:,.1f}" for value in (row.p50, row.p95, row.p99, row.longest))
        table.add_row(name, f"{row.count:,}", *values)
    return table


def _show(console: Console, report: Report) -> None:
    console.print(_table("One event at a time", report.idle), "")
    title = f"{report.rate:g} requests a second for {report.seconds:g} s"
    console.print(_table(title, report.steady), "")
    statuses = ", ".join(f"{count:,} of {status}" for status, count in sorted(report.statuses.items()))
    console.print(f"answers: {statuses}; {report.accepted:,} accepted, {report.lost} lost", highlight=False)
    commit = report.steady["one-row commit"].p95
    for name, absolute_ms in (("response", RESPONSE_MS), ("applied", APPLIED_MS)):
        if name in report.steady:
            p95 = report.steady[name].p95
            console.print(
                f"{name} p95 {p95:.1f} ms ≤ {report.bound_ms(absolute_ms):.1f} ms "
                f"({absolute_ms:g} ms, or {COMMITS:g} commits of p95 {commit:.1f} ms + {COMMITS_MS:g} ms): "
                f"{'yes' if p95 <= report.bound_ms(absolute_ms) else 'NO'}",
                highlight=False,
            )


def _mix(word: str) -> list[int]:
    parts = [int(part) for part in word.split("/") if part.isdigit()]
    if word.count("/") != len(MIX) - 1 or len(parts) != len(MIX) or sum(parts) != 100:  # noqa: PLR2004  # percent
        raise argparse.ArgumentTypeError(f"{word} isn't three percentages that add up to 100, as 10/30/60")
    return parts


def main() -> int:
    """Measure, show, and return the exit status: 1 where a bound doesn't hold or something is lost."""
    parser = argparse.ArgumentParser(prog="python -m bench.measure.latency", description="Measure a running Tiercel.")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second (%(default)g)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (%(default)g)")
    mix = "/".join(map(str, MIX.values()))
    parser.add_argument("--mix", type=_mix, default=mix, help="high/medium/low in %% (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    words = parser.parse_args()
    if not (words.rate > 0 and 1 <= words.rate * words.seconds <= _MOST):
        parser.error(f"--rate times --seconds must be from 1 to {_MOST:,} requests")
    console = Console(width=None if sys.stdout.isatty() else 100)
    report = Report(words.rate, words.seconds, words.mix)
    try:
        target = find_target()
        wanted: dict[str, tuple[str, dict[str, object]]] = {"idle": ("standard", {}), "steady": ("standard", {})}
        with senders(target, wanted) as (made, key):
            report.idle = idle(target, made["idle"], key)
            steady(target, made["steady"], report)
    except NotRunning as error:
        Console(stderr=True, soft_wrap=True).print(f"bench: {error}", highlight=False, markup=False)
        return 1
    failures = report.failures()
    if words.json:
        sys.stdout.write(json.dumps({**asdict(report), "failures": failures}, indent=2) + "\n")
    else:
        _show(console, report)
        for failure in failures:
            console.print(f"[red]{failure}[/red]", highlight=False)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
