"""Owns the model of waiting times behind a backtest. Pure; what it leaves out is in docs/priorities.md.

Each lane is one server of its own with a steady drain (events a second). It always takes the waiting event of the
greatest in-queue priority, the one that arrived first among equals, and never interrupts. No lane helps another, and
retries, superseding, busy entities and schedules don't exist.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from app.models import Lane


@dataclass(frozen=True, slots=True)
class Dispersion:
    """Some waiting times, in seconds."""

    count: int
    p50: float
    p95: float
    p99: float
    longest: float


def waits(arrivals: Iterable[tuple[float, int]], drain_per_s: float) -> list[float]:
    """Return how long each event waits in one lane, in the order they are served; ``(arrival, priority)`` ascending.

    Arrivals are in seconds, priorities 0 to 9.
    """
    service = 1.0 / drain_per_s
    queue: list[tuple[int, float]] = []
    free_at = float("-inf")
    found: list[float] = []

    def serve_until(now: float) -> None:
        nonlocal free_at
        while queue and max(free_at, queue[0][1]) < now:
            # Nobody who waits arrived after the server was free, so the greatest priority is the next.
            _, arrived = heapq.heappop(queue)
            begins = max(free_at, arrived)
            found.append(begins - arrived)
            free_at = begins + service

    for arrived, priority in arrivals:
        serve_until(arrived)
        heapq.heappush(queue, (-priority, arrived))
    serve_until(float("inf"))
    return found


def spread(values: list[float]) -> Dispersion:
    """Return the percentiles of some waiting times; of none, zeros."""
    if not values:
        return Dispersion(0, 0.0, 0.0, 0.0, 0.0)
    ordered = sorted(values)
    at = [ordered[min(int(len(ordered) * share), len(ordered) - 1)] for share in (0.5, 0.95, 0.99)]
    return Dispersion(len(ordered), *(round(value, 3) for value in (*at, ordered[-1])))


def by_lane(arrivals: Iterable[tuple[float, Lane, int]], drains: dict[Lane, float]) -> dict[Lane, Dispersion]:
    """Return each lane's waiting times; ``(arrival, lane, priority)`` by ascending arrival."""
    lanes: dict[Lane, list[tuple[float, int]]] = {lane: [] for lane in Lane}
    for arrived, lane, priority in arrivals:
        lanes[lane].append((arrived, priority))
    return {lane: spread(waits(found, drains[lane])) for lane, found in lanes.items()}
