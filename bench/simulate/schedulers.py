"""Owns the schedulers that the policy is compared with: first come first served, and tiers that never change."""

from collections import deque

from app.models import Lane
from bench.simulate.simulate import Job

_IDLE_S = 3_600.0
"""There is nothing to do from time to time."""
TIERS = {
    "price": Lane.HIGH,
    "inventory": Lane.HIGH,
    "promotion": Lane.HIGH,
    "product": Lane.HIGH,
    "log": Lane.LOW,
    "analytics": Lane.LOW,
}
"""By the noun of an event's type, as a routing table has it; everything else is medium."""


class Fifo:
    """First come, first served, by whatever core is free."""

    def __init__(self) -> None:
        self._queue: deque[Job] = deque()

    def come(self, job: Job) -> None:
        self._queue.append(job)

    def next(self) -> Job | None:
        return self._queue.popleft() if self._queue else None

    def ended(self, job: Job, now: float) -> None:
        pass

    def step(self, now: float) -> float:
        return now + _IDLE_S


class StaticTiers:
    """Three queues by the kind of event; a core takes from the first that isn't empty."""

    def __init__(self) -> None:
        self._queues: dict[Lane, deque[Job]] = {lane: deque() for lane in Lane}

    def come(self, job: Job) -> None:
        self._queues[TIERS.get(job.arrival.type.partition(".")[0], Lane.MEDIUM)].append(job)

    def next(self) -> Job | None:
        return next((queue.popleft() for queue in self._queues.values() if queue), None)

    def ended(self, job: Job, now: float) -> None:
        pass

    def step(self, now: float) -> float:
        return now + _IDLE_S
