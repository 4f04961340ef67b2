"""Owns how many signed events a second the door takes: ours, a no-op Flask route and peer (b), in turn.

All are served by the same gunicorn with the same settings and driven by the same client. Nothing is applied meanwhile;
what ours accepts is committed and published with confirms, as the peer's is.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack

from app.messaging.messages import queue_name
from app.models import Lane
from bench.harness.children import served
from bench.harness.events import Stream
from bench.harness.figures import Bound, Results, ratios
from bench.harness.progress import tell
from bench.harness.system import System, cpu_s, depth
from bench.harness.volley import Load, run
from bench.measure.parts.sizes import Sizes
from bench.peers.contest import INBOX, contest

_MOST_PER_S = 8000
"""Requests made ready for a round, a second; whoever is faster ends its round early."""
_QUIET_S = 0.1
_WARM_S = 1.0
NOOP, OURS = "no-op Flask route", "Tiercel"


def measure(system: System, sizes: Sizes, results: Results) -> None:
    """Add rates, ratios and what a request costs in processor time."""
    rates: dict[str, list[float]] = {}
    cost_ms: dict[str, list[float]] = {}
    behind_s: list[float] = []
    client_ms: list[float] = []
    with ExitStack() as stack:
        doors: dict[str, tuple[int, int, Stream]] = {}
        pid, port = stack.enter_context(served("bench.measure.noop:flask_app"))
        doors[NOOP] = (pid, port, Stream(system.sender))
        doors[OURS] = (system.processes()["web"][0].pid, system.port, system.stream)
        if sizes.peers:
            peer = stack.enter_context(contest(INBOX, system.target))
            doors[INBOX.label] = (stack.enter_context(peer.door()), peer.port, peer.stream)
        stack.enter_context(system.door_alone())
        for _, at, stream in doors.values():
            warm(system.host, at, stream)
        for _ in range(sizes.rounds):
            for name, (process, at, stream) in doors.items():
                before = cpu_s(process)
                load = saturate(system.host, at, stream, sizes.ingest_s)
                tell(f"{name}: {load.per_s:.0f}/s")
                rates.setdefault(name, []).append(load.per_s)
                cost_ms.setdefault(name, []).append((cpu_s(process) - before) / max(load.accepted, 1) * 1000)
                client_ms.append(load.cpu_s / max(load.accepted, 1) * 1000)
                if name == OURS:
                    behind_s.append(_published_after_s(lambda: _published(system)))
                if load.refused:
                    results.notes.append(f"ingest: {load.refused} requests to {name} were not accepted")
        left = system.undispatched()
    system.settle()
    for name, values in rates.items():
        results.add("ingest", name, "/s", values)
    results.add("ingest", "Tiercel ÷ no-op", "times", ratios(rates[OURS], rates[NOOP]), Bound(at_least=0.3))
    if sizes.peers:
        found = ratios(rates[OURS], rates[INBOX.label])
        results.add("ingest", f"Tiercel ÷ {INBOX.label}", "times", found, Bound(at_least=2.5))
    for name, values in cost_ms.items():
        results.add("ingest", f"{name}: processor time a request", "ms", values)
    results.add("ingest", "load generator: processor time a request", "ms", client_ms)
    results.add("ingest", "Tiercel: left to the dispatcher", "events", [left])
    results.add("ingest", "published after the last answer", "s", behind_s)


def rate_alone(system: System, sizes: Sizes) -> list[float]:
    """Return how many events a second ours takes, one value a round, without the others."""
    found = []
    with system.door_alone():
        warm(system.host, system.port, system.stream)
        for _ in range(sizes.rounds):
            found.append(saturate(system.host, system.port, system.stream, sizes.ingest_s).per_s)
            _published_after_s(lambda: _published(system))
    system.settle()
    return found


def warm(host: str, port: int, stream: Stream) -> None:
    """Let a door open its connections and fill its caches, uncounted: nobody is measured cold."""
    for _ in range(2):
        saturate(host, port, stream, _WARM_S)


def saturate(host: str, port: int, stream: Stream, seconds: float) -> Load:
    """Send signed events as fast as they are answered."""
    return run(Load(host, port, stream.ready(round(_MOST_PER_S * seconds)), seconds))


def _published(system: System) -> int:
    return sum(depth(system.target.settings.broker_url, queue_name(lane)) for lane in Lane)


def _published_after_s(published: Callable[[], int]) -> float:
    """Return how long the broker's queues go on growing."""
    began = last = time.monotonic()
    before = published()
    while time.monotonic() - last < _QUIET_S:
        now = published()
        if now != before:
            before, last = now, time.monotonic()
    return last - began
