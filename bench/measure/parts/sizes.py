"""Owns how long and how much each part measures."""

from dataclasses import dataclass, field
from typing import Any


def _size(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a run measures; the defaults are for figures that mean something."""

    rounds: int = _size(5, "rounds of everything; a figure is their median")
    ingest_s: float = _size(5.0, "seconds for which each door is loaded, a round")
    idle_events: int = _size(400, "events sent one by one for the latency")
    idle_per_s: float = _size(20.0, "of those a second")
    probe_s: float = _size(10.0, "seconds for which a rate is tried on the way to the highest one")
    hold_s: float = _size(60.0, "seconds for which the highest one is held")
    start_per_s: float = _size(1000.0, "events a second at which that search begins")
    drain_events: int = _size(100_000, "events that wait before they are drained")
    ceiling_s: float = _size(3.0, "seconds for each ceiling")
    memory_events: int = _size(1_000_000, "events over which memory is watched")
    growth_rows: int = _size(1_000_000, "rows of the full table")
    peers: bool = True


QUICK = Sizes(
    rounds=1,
    ingest_s=1.5,
    idle_events=20,
    probe_s=2.0,
    hold_s=4.0,
    start_per_s=100.0,
    drain_events=1000,
    ceiling_s=0.5,
    memory_events=2000,
    growth_rows=10_000,
)
"""For trying whether everything runs; its figures mean nothing."""
