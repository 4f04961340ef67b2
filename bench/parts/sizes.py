"""Owns how long and how much each part measures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a run measures; the defaults are for figures that mean something."""

    rounds: int = 5
    ingest_s: float = 5.0
    idle_events: int = 400
    idle_per_s: float = 20.0
    probe_s: float = 10.0
    """How long a rate is tried on the way to the highest one."""
    hold_s: float = 60.0
    """How long the highest one is held."""
    start_per_s: float = 1000.0
    """Where that search begins."""
    drain_events: int = 100_000
    ceiling_s: float = 3.0
    memory_events: int = 1_000_000
    growth_rows: int = 1_000_000
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
