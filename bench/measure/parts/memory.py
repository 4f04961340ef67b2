"""Owns how much memory our own processes take together while they are busy, and whether it stays that much.

PSS: a page that several processes share counts once (proc(5), smaps_rollup). Flower isn't counted.
"""

import statistics
import threading
import time
from collections.abc import Sequence

from bench.harness.figures import Bound, Results
from bench.harness.system import System
from bench.harness.volley import Load, run
from bench.measure.parts.sizes import Sizes

_LEFT_OUT = "flower"
_SHARE = 0.8
"""Of the highest rate: full, and for long."""
_SAMPLES = 200
_TENTH = 10


def measure(system: System, sizes: Sizes, results: Results) -> None:
    """Add the sum at full load, each process group's share, and how the sum changes from early to late."""
    rates = [figure.median for figure in results.figures if (figure.part, figure.unit) == ("sustained", "/s")]
    rate = _SHARE * (rates[0] if rates else sizes.start_per_s)
    seconds = sizes.memory_events / rate
    system.settle()
    seen: list[dict[str, float]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(max(seconds / _SAMPLES, 0.25)):
            seen.append(system.pss_mb())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    began = time.monotonic()
    # Made as they are sent: ready, a million would be most of the machine's memory, and their signatures too old.
    load = run(Load(system.host, system.port, system.stream.requests(sizes.memory_events), seconds * 2, rate))
    done.set()
    thread.join()
    system.settle()
    if load.accepted < sizes.memory_events:
        results.notes.append(f"memory: {load.accepted} of {sizes.memory_events} events were accepted")
    totals = [sum(value for name, value in one.items() if name != _LEFT_OUT) for one in seen]
    results.add("memory", "rate meanwhile", "/s", [load.accepted / (time.monotonic() - began)])
    results.add("memory", "all but Flower, at the most", "MB", [max(totals)], Bound(at_most=700))
    results.add("memory", "all but Flower", "MB", [statistics.median(totals)])
    for name in seen[0]:
        results.add("memory", name, "MB", [statistics.median(one[name] for one in seen)])
    change = change_percent(totals)
    title = f"change over {sizes.memory_events:,} events"
    results.add("memory", title, "%", [change], Bound(at_least=-5, at_most=5))


def change_percent(totals: Sequence[float]) -> float:
    """Return by how much the last tenth differs from the second one, in percent; the first is for warming up."""
    tenth = max(1, len(totals) // _TENTH)
    early, late = totals[tenth : 2 * tenth] or totals[:1], totals[-tenth:]
    return (statistics.median(late) / statistics.median(early) - 1) * 100
