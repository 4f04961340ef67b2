"""Owns the highest rate of the mix that is applied as fast as it comes in, ours and peer (a)'s, and latency below it.

Twice: each event in a request of its own, as the peer takes them, and with logs together, as who has many sends them.
With those also at the rate that is asked for, for as long: how soon high's are applied there.

Open loop: events arrive at their rate whatever the answers do. What is due and not applied yet, in the client, in the
receiver or behind it, is the backlog; a rate is held when everything was accepted and the backlog doesn't grow.
"""

import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from app.models import Lane
from bench.harness.events import Stream
from bench.harness.figures import Bound, Point, Results, Series, point, ratios
from bench.harness.progress import tell
from bench.harness.system import System
from bench.harness.target import NotRunning
from bench.harness.volley import Load, run
from bench.measure.latency import spread
from bench.measure.parts.sizes import Sizes
from bench.peers.contest import TUTORIAL, contest

_SAMPLE_S = 0.25
_SAMPLES = 60
"""In a long run so many are enough: each is a query, and the larger the backlog the dearer."""
_NOISE, _NOISE_S, _GROWTH = 20, 0.05, 0.005
"""What a backlog may grow by from the middle third of a run to the last: 20 events, those of 0.05 s, and 0.5 %."""
_ALSO_AT = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares of the highest rate at which latency is measured, too."""
_LOGS_TOGETHER = 50
_ALONE, _TOGETHER = "each event alone", f"{_LOGS_TOGETHER} logs a request"
_ASKED_PER_S = 2000.0
_ASKED = f"at {_ASKED_PER_S:,.0f}/s, {_TOGETHER}"
_LOWEST_PER_S = 5.0
_WARM = 500


class Subject(Protocol):
    """Who is loaded."""

    stream: Stream

    @property
    def label(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    def behind(self) -> int: ...
    def settle(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Hold:
    """What came of one rate."""

    rate: float
    holds: bool
    since: float
    """Unix time at which it began."""
    response_p99_ms: float


def measure(system: System, sizes: Sizes, results: Results) -> None:
    """Add the rates, high's p99 in the same runs and at the rate asked for, and the picture of latency over load."""
    ours: list[Hold] = []
    together: list[Hold] = []
    asked: list[Hold] = []
    theirs: list[float] = []
    high_p99: dict[str, list[float]] = {_ALONE: [], _TOGETHER: [], _ASKED: []}
    for number in range(sizes.rounds):
        tell(f"the highest rate, {_ALONE}")
        ours.append(highest(system, sizes, ours[-1].rate if number else sizes.start_per_s))
        high_p99[_ALONE].append(_high_p99(system, ours[-1]))
        tell(f"the highest rate, {_TOGETHER}")
        with _logs_together(system.stream):
            together.append(highest(system, sizes, together[-1].rate if number else ours[-1].rate * 1.5))
            high_p99[_TOGETHER].append(_high_p99(system, together[-1]))
            tell(_ASKED)
            asked.append(hold(system, _ASKED_PER_S, sizes.hold_s))
            high_p99[_ASKED].append(_high_p99(system, asked[-1]))
        if sizes.peers:
            with system.dispatcher_still(), contest(TUTORIAL, system.target) as peer, peer.door(), peer.workers():
                # Its workers are there once they have done something.
                peer.fill(_WARM)
                peer.settle()
                theirs.append(highest(peer, sizes, theirs[-1] if number else sizes.start_per_s / 2).rate)
    alone = [held.rate for held in ours]
    for name, found, bound in ((_ALONE, ours, None), (_TOGETHER, together, Bound(at_least=2000))):
        results.add("sustained", f"Tiercel, {name}", "/s", [held.rate for held in found], bound)
        results.add("sustained", f"high's p99 at that rate, {name}", "ms", high_p99[name])
        responses = [held.response_p99_ms for held in found]
        results.add("sustained", f"response p99 at that rate, {name}", "ms", responses)
    kept = min(float(held.holds) for held in asked)
    results.add("sustained", f"held {_ASKED}", "of 1", [kept], Bound(at_least=1))
    results.add("sustained", f"high's p99 {_ASKED}", "ms", high_p99[_ASKED], Bound(at_most=100))
    results.add("sustained", f"{TUTORIAL.label}: {TUTORIAL.name}, {_ALONE}", "/s", theirs)
    title = f"Tiercel ÷ {TUTORIAL.label}, {_ALONE}"
    results.add("sustained", title, "times", ratios(alone, theirs), Bound(at_least=3))
    results.series["latency-over-load"] = _latency(system, sizes, statistics.median(alone))


@contextmanager
def _logs_together(stream: Stream) -> Iterator[None]:
    stream.logs_together = _LOGS_TOGETHER
    try:
        yield
    finally:
        stream.logs_together = 1


def _high_p99(system: System, held: Hold) -> float:
    system.settle()
    return spread(system.ended_ms(held.since)[Lane.HIGH]).p99


def highest(subject: Subject, sizes: Sizes, start: float) -> Hold:
    """Return the highest rate that could be held: sought in short tries, then held for long, stepping down by 5 %.

    Raises:
        NotRunning: not even a few events a second can be.
    """
    good, bad = 0.0, 0.0
    rate = start
    while not (good and bad) or bad / good > 1.08:
        # Twice, where it fails: a checkpoint or a neighbour shows in a short try.
        if hold(subject, rate, sizes.probe_s).holds or hold(subject, rate, sizes.probe_s).holds:
            good = rate
        else:
            bad = rate
        rate = good * 1.25 if not bad else bad * 0.7 if not good else (good * bad) ** 0.5
        if rate < _LOWEST_PER_S:
            raise NotRunning(f"not even {bad:.0f} events/s can be held")
    while not (held := hold(subject, good, sizes.hold_s)).holds:
        good *= 0.95
        if good < _LOWEST_PER_S:
            raise NotRunning(f"not even {held.rate:.0f} events/s can be held")
    return held


def hold(subject: Subject, rate: float, seconds: float) -> Hold:
    """Load with a rate and watch the backlog."""
    subject.settle()
    count = round(rate * seconds)
    requests = list(subject.stream.ready(count))
    load = Load(subject.host, subject.port, iter(requests), seconds, len(requests) / seconds)
    since = time.time()
    with _watched(subject, load, count / max(len(requests), 1), max(_SAMPLE_S, seconds / _SAMPLES)) as backlog:
        run(load)
        seen = list(backlog)
    growth = grown(seen, seconds)
    holds = load.refused == 0 and growth <= _NOISE + rate * (_NOISE_S + _GROWTH * seconds / 3)
    kept = "held" if holds else f"not held: the backlog grew by {growth:.0f}, {load.refused} were refused"
    tell(f"{subject.label}: {rate:.0f}/s for {seconds:g} s {kept}")
    response = spread([due * 1000 for due in load.due_s]).p99 if load.due_s else float("inf")
    return Hold(rate, holds, since, response)


@contextmanager
def _watched(subject: Subject, load: Load, events: float, every_s: float) -> Iterator[list[tuple[float, float]]]:
    """Note, again and again, how long the load runs and how many of its events are due and not applied.

    ``events`` is how many a request brings, on average, ``every_s`` how often.
    """
    seen: list[tuple[float, float]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every_s):
            if load.began:
                unanswered = max(0, load.due() - load.answered) * events
                seen.append((time.monotonic() - load.began, unanswered + subject.behind()))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def grown(seen: Sequence[tuple[float, float]], seconds: float) -> float:
    """Return how much the backlog's mean grew from the middle third of a run to the last."""
    middle = [behind for at, behind in seen if seconds / 3 <= at < seconds * 2 / 3]
    last = [behind for at, behind in seen if seconds * 2 / 3 <= at <= seconds]
    if not middle or not last:
        return float("inf")
    return statistics.fmean(last) - statistics.fmean(middle)


def _latency(system: System, sizes: Sizes, top: float) -> Series:
    tell("latency at parts of the highest rate, for the picture")
    lines: dict[str, list[Point]] = {}
    for share in (*_ALSO_AT, 1.0):
        rate, rounds = top * share, []
        for _ in range(min(sizes.rounds, 3)):
            held = hold(system, rate, sizes.probe_s)
            system.settle()
            rounds.append((held, system.ended_ms(held.since)))
        for lane in Lane:
            for name in ("p50", "p99"):
                values = [getattr(spread(ended[lane]), name) for _, ended in rounds if ended.get(lane)]
                if values:
                    lines.setdefault(f"{lane.name.lower()} {name}", []).append(point(rate, values))
    return Series(
        "From acceptance to applied, by lane", "events a second, 10/30/60 % high/medium/low", "ms", lines, log_y=True
    )
