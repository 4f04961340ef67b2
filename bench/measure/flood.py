"""Owns the measurement of a flood of low events: what it costs the high ones, and what those cost it.

Beside a running ``make up``. In one run: high alone, low's backlog alone, both, and last a backlog in all three lanes.
With ``--slow`` low's events take 200 ms each: start the system with ``TIERCEL_PROCFILE=bench/measure/slow.Procfile
make up``.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from app.db.engine import transaction
from app.db.pipeline import pipelined_transaction
from app.models import Lane, Status
from bench.harness.inject import Injector, copies, injector, made
from bench.harness.load import fire, request_bytes
from bench.harness.target import NotRunning, Sender, Target, find_target, senders
from bench.measure.latency import Spread, event_body, spread

HIGH_P99_MS = 50.0
TIMES_IDLE = 3.0
DRAIN = 0.8
OTHERS = 0.25
SAMPLES = 3_000
"""Fewer make no p99."""
SLOW = "slow-log"
"""The entity type whose handler sleeps (``bench.measure.slow``)."""
_SETTLE_S = 3.0
_LONG_S = 180.0
_END_S = 120.0
_TYPES = {Lane.HIGH: "price.updated", Lane.MEDIUM: "segment.updated", Lane.LOW: "log.recorded"}
_TOOK = text("""
SELECT extract(epoch FROM finished_at - received_at) * 1000 FROM event JOIN source s ON s.id = source_id
WHERE s.name = :name AND finished_at IS NOT NULL
""")
_NOW = text("SELECT clock_timestamp()")
_ENDED = text("""
SELECT lane, count(*) FROM event WHERE finished_at >= :since AND finished_at < :until GROUP BY lane
""")
_LEFT = text("SELECT count(*) FROM event WHERE source_id = :id AND finished_at IS NULL")
_LAST = text("SELECT max(finished_at) FROM event WHERE source_id = :id")
_WAITING = text(f"SELECT count(*) FROM event WHERE status = {Status.PENDING:d} AND lane = :lane")


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured."""

    rate: float
    slow: bool
    idle: Spread
    beside: Spread
    lost: int
    """Accepted high events that didn't end."""
    waiting: int
    """Low events that still waited when high's last had come."""
    low_alone_per_s: float
    low_beside_per_s: float
    ended_while_high_is_due: dict[str, int]
    """By lane, while a backlog waits in all three."""

    @property
    def others(self) -> float:
        """The part of what ended that wasn't high's, while high events were due."""
        ended = self.ended_while_high_is_due
        return 1 - ended.get("high", 0) / max(sum(ended.values()), 1)

    def verdicts(self) -> dict[str, bool]:
        """Return what must hold, in words, and whether it does."""
        drain = self.low_beside_per_s / max(self.low_alone_per_s, 1e-9)
        times = self.beside.p99 / self.idle.p99
        return {
            f"high p99 {self.beside.p99:.1f} ms beside the flood (<= {HIGH_P99_MS:g})": self.beside.p99 <= HIGH_P99_MS,
            f"{times:.2f} times its idle p99 of {self.idle.p99:.1f} ms (<= {TIMES_IDLE:g})": times <= TIMES_IDLE,
            f"{self.beside.count:,} samples (>= {SAMPLES:,}), {self.lost} lost": (
                self.beside.count >= SAMPLES and not self.lost
            ),
            f"low drains at {drain:.0%} of its rate alone (>= {DRAIN:.0%})": drain >= DRAIN,
            f"low still waited: {self.waiting:,}": self.waiting > 0,
            f"others' part of what ended while high was due: {self.others:.1%} (<= {OTHERS:.0%})": (
                self.others <= OTHERS
            ),
        }


@dataclass(slots=True)
class _Flood:
    """The backlog of low events, and how fast it is worked off."""

    inbox: Injector
    event_type: str

    def let_wait(self, lane: Lane, count: int) -> int:
        """Let events about as many entities wait; return their source's id."""
        source = self.inbox.add_source(f"flood-{lane.name.lower()}")
        event_type = self.event_type if lane is Lane.LOW else _TYPES[lane]
        (event_id,) = self.inbox.put(source, [made(event_type, source.name, 1)], lane, wait=True)
        with pipelined_transaction(self.inbox.engine) as session:
            session.execute(text("SET LOCAL statement_timeout = 0"))
            copies(session, event_id, count - 1)
        return source.id

    def now(self) -> Any:
        """Return PostgreSQL's clock."""
        return self._one(_NOW)

    def ended(self, since: Any, until: Any) -> dict[Lane, int]:
        """Return how many events of each lane ended between two times of PostgreSQL's clock."""
        with transaction(self.inbox.engine) as session:
            rows = session.execute(_ENDED, {"since": since, "until": until})
            return {Lane(lane): int(count) for lane, count in rows}

    def low_per_s(self, since: Any, until: Any) -> float:
        """Return low's rate between two times."""
        return self.ended(since, until).get(Lane.LOW, 0) / float((until - since).total_seconds())

    def waiting(self) -> int:
        """Return how many low events wait."""
        return int(self._one(_WAITING, lane=int(Lane.LOW)))

    def last_end(self, source_id: int) -> Any:
        """Wait until all events of a source have ended; return when the last did.

        Raises:
            NotRunning: they don't end.
        """
        end = time.monotonic() + _END_S
        while left := int(self._one(_LEFT, id=source_id)):
            if time.monotonic() > end:
                raise NotRunning(f"{left} high events still wait after {_END_S:g} s: do the workers run?")
            time.sleep(0.1)
        return self._one(_LAST, id=source_id)

    def _one(self, statement: Any, **values: Any) -> Any:
        with transaction(self.inbox.engine) as session:
            return session.execute(statement, values).scalar_one()


def main(words: Sequence[str] | None = None) -> int:
    """Measure, show, and return the exit status: 1 where something doesn't hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.measure.flood", description=__doc__)
    parser.add_argument("--low", type=int, default=100_000, help="low events that wait at least (%(default)s)")
    parser.add_argument("--rate", type=float, default=50.0, help="high events a second (%(default)g)")
    parser.add_argument("--seconds", type=float, help="of high, alone and beside (65; with --slow 180)")
    parser.add_argument("--alone", type=float, help="seconds of low alone (20; with --slow 180)")
    parser.add_argument("--burst", type=int, default=10_000, help="events of high's backlog at the end (%(default)s)")
    parser.add_argument("--slow", action="store_true", help="low's events take 200 ms each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    given = parser.parse_args(words)
    # Slow events end a message at a time, so their rate shows only after many.
    given.seconds = given.seconds or (_LONG_S if given.slow else 65.0)
    given.alone = given.alone or (_LONG_S if given.slow else 20.0)
    try:
        found = _measure(find_target(), given)
    except NotRunning as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    _show(found)
    if given.json:
        given.json.write_text(json.dumps({**asdict(found), "verdicts": found.verdicts()}, indent=1) + "\n")
    return 0 if all(found.verdicts().values()) else 1


def _measure(target: Target, given: argparse.Namespace) -> Found:
    idle, _ = _high(target, given.rate, given.seconds)
    with injector(target) as inbox:
        flood = _Flood(inbox, f"{SLOW}.recorded" if given.slow else _TYPES[Lane.LOW])
        flood.let_wait(Lane.LOW, given.low)
        time.sleep(_SETTLE_S)
        since = flood.now()
        time.sleep(given.alone)
        alone_per_s = flood.low_per_s(since, flood.now())
        # What is worked off meanwhile, so that as many wait to the end
        flood.let_wait(Lane.LOW, round(alone_per_s * (given.alone + given.seconds + 2 * _SETTLE_S)) + 1)
        time.sleep(_SETTLE_S)
        since = flood.now()
        beside, lost = _high(target, given.rate, given.seconds)
        until, waiting = flood.now(), flood.waiting()
        beside_per_s = flood.low_per_s(since, until)
        flood.let_wait(Lane.MEDIUM, given.burst)
        time.sleep(_SETTLE_S)
        urgent = flood.let_wait(Lane.HIGH, given.burst)
        since = flood.now()
        ended = flood.ended(since, flood.last_end(urgent))
    return Found(
        rate=given.rate,
        slow=given.slow,
        idle=idle,
        beside=beside,
        lost=lost,
        waiting=waiting,
        low_alone_per_s=alone_per_s,
        low_beside_per_s=beside_per_s,
        ended_while_high_is_due={lane.name.lower(): count for lane, count in ended.items()},
    )


def _high(target: Target, rate: float, seconds: float) -> tuple[Spread, int]:
    """Send prices of entities of their own through the door; return how long each took, and how many got lost.

    Raises:
        NotRunning: none was applied.
    """
    with senders(target, {"urgent": ("standard", {})}) as (found, _):
        sender = found["urgent"]
        shots = fire(target.host, target.port, _requests(sender, round(rate * seconds), rate), rate)
        accepted = sum(shot.status == 202 for shot in shots)
        end, took = time.monotonic() + _END_S, list[float]()
        while len(took) < accepted and time.monotonic() < end:
            time.sleep(0.2)
            with transaction(target.engine) as session:
                took = [float(row[0]) for row in session.execute(_TOOK, {"name": sender.name})]
    if not took:
        raise NotRunning("no high event was applied: do the workers run?")
    return spread(took), accepted - len(took)


def _requests(sender: Sender, count: int, rate: float) -> list[bytes]:
    began, found = time.time(), []
    for number in range(count):
        at = began + number / rate
        body = event_body(_TYPES[Lane.HIGH], at, {"id": f"sku-{number}", "amount": "19.90", "currency": "EUR"})
        headers = sender.sign(f"urgent-{number}", _TYPES[Lane.HIGH], body, at)
        found.append(request_bytes(f"/webhooks/{sender.name}", body, {"Content-Type": "application/json", **headers}))
    return found


def _show(found: Found) -> None:
    table = Table(title=f"A flood of low events{', 200 ms each' if found.slow else ''}")
    for column in ("high, acceptance to applied, ms", "events", "p50", "p95", "p99", "longest"):
        table.add_column(column, justify="right" if table.columns else "left")
    for name, one in (("alone", found.idle), ("beside the flood", found.beside)):
        table.add_row(name, f"{one.count:,}", *(f"{value:.1f}" for value in (one.p50, one.p95, one.p99, one.longest)))
    console = Console(width=100)
    console.print(table)
    console.print(
        f"low, a second: {found.low_alone_per_s:,.1f} alone, {found.low_beside_per_s:,.1f} beside high; "
        f"ended while high was due, a backlog in each lane: {found.ended_while_high_is_due}",
        highlight=False,
    )
    for words, holds in found.verdicts().items():
        console.print(f"{'yes' if holds else 'NO '}  {words}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
