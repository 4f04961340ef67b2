"""Owns how fast waiting events are applied: ours and the peers' in turn, each on a queue that was filled before.

The time is from the first event applied to the last, so that nobody's start counts.
"""

import time

from bench.harness.figures import Bound, Results, ratios
from bench.harness.progress import tell
from bench.harness.system import System
from bench.harness.target import NotRunning
from bench.harness.volley import Load, run
from bench.measure.parts.sizes import Sizes
from bench.peers.contest import DRAMATIQ, PROCRASTINATE, TUTORIAL, contest

_FILL_S = 600.0
_AT_LEAST = {TUTORIAL: 4.0, DRAMATIQ: 3.0, PROCRASTINATE: 3.0}


def measure(system: System, sizes: Sizes, results: Results) -> None:
    """Add everybody's rate and the ratios."""
    ours: list[float] = []
    theirs: dict[str, list[float]] = {peer.label: [] for peer in _AT_LEAST}
    running = list(_AT_LEAST) if sizes.peers else []
    for _ in range(sizes.rounds):
        ours.append(one_round(system, sizes.drain_events))
        for peer in list(running):
            try:
                with system.dispatcher_still(), contest(peer, system.target) as waiting:
                    tell(f"{peer.label}: {peer.name}")
                    theirs[peer.label].append(waiting.drain(sizes.drain_events))
            except NotRunning as error:
                # The others go on; this one is out, so that its rounds stay beside ours.
                running.remove(peer)
                results.notes.append(f"drain: {error}")
    results.add("drain", "Tiercel", "/s", ours, Bound(at_least=4000))
    for peer, bound in _AT_LEAST.items():
        results.add("drain", f"{peer.label}: {peer.name}", "/s", theirs[peer.label])
        found = ratios(ours, theirs[peer.label])
        results.add("drain", f"Tiercel ÷ {peer.label}", "times", found, Bound(at_least=bound))


def one_round(system: System, count: int) -> float:
    """Let events come in while no worker takes any, then let them be applied; return how many a second.

    Raises:
        NotRunning: an event wasn't accepted, or was lost.
    """
    system.settle()
    with system.nothing_moves():
        load = run(Load(system.host, system.port, system.stream.requests(count), _FILL_S))
        if load.accepted != count:
            raise NotRunning(f"of {count} events for the drain {load.accepted} were accepted")
        since = time.time()
    system.settle()
    tell(f"Tiercel: {count:,} events drained")
    ended, span_s = system.ended_over(since)
    if ended != count:
        raise NotRunning(f"of {count} waiting events {ended} have ended")
    return ended / span_s if span_s else 0.0
