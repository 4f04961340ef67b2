"""Owns what one event takes while nothing else happens: its answer, and until it is applied."""

import time

from app.models import Lane
from bench.harness.events import Stream
from bench.harness.figures import Bound, Results
from bench.harness.system import System
from bench.harness.volley import Load, run
from bench.measure.latency import Spread, spread
from bench.measure.parts.sizes import Sizes


def measure(system: System, sizes: Sizes, results: Results) -> None:
    """Add the response's and the high lane's percentiles."""
    rounds = [one_round(system, sizes) for _ in range(sizes.rounds)]
    response = [answer for answer, _ in rounds]
    applied = [high for _, high in rounds]
    results.add("latency", "response p50", "ms", [one.p50 for one in response], Bound(at_most=3.0))
    results.add("latency", "response p99", "ms", [one.p99 for one in response])
    results.add("latency", "accepted → applied, high, p50", "ms", [one.p50 for one in applied], Bound(at_most=10.0))
    results.add("latency", "accepted → applied, high, p99", "ms", [one.p99 for one in applied], Bound(at_most=30.0))


def one_round(system: System, sizes: Sizes) -> tuple[Spread, Spread]:
    """Send prices one by one, well apart; return the response's spread and the high lane's."""
    system.settle()
    since = time.time()
    prices = Stream(system.sender, (100, 0, 0), made=system.stream.made)
    seconds = sizes.idle_events / sizes.idle_per_s
    load = run(
        Load(system.host, system.port, prices.ready(sizes.idle_events), seconds, sizes.idle_per_s, connections=2)
    )
    system.stream.made = prices.made
    system.settle()
    return spread([took * 1000 for took in load.took_s]), spread(system.ended_ms(since)[Lane.HIGH])
