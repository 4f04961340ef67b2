"""Owns the simulated machine: two cores that work on what a scheduler gives them, one event at a time each.

An event that was begun is ended. One that nobody would be helped by any more (``expires_at``) costs nothing when its
turn comes, whatever the scheduler. Retries, superseding and busy entities don't exist here.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.models import Lane
from bench.simulate.service import CORES
from bench.simulate.trace import Arrival


@dataclass(slots=True)
class Job:
    """One event on its way; times in seconds from the day's begin."""

    number: int
    arrival: Arrival
    source: int
    lane: Lane
    """The policy's, also where another scheduler knows no lanes: by it all are compared."""
    priority: int
    done_at: float = 0.0
    expired: bool = False
    promoted: int = 0

    @property
    def in_time(self) -> bool:
        """Whether it was applied while it was worth something."""
        return not self.expired and self.done_at <= self.arrival.deadline


class Scheduler(Protocol):
    """Who says what is worked on next."""

    def come(self, job: Job) -> None:
        """Take an event that counts from now on."""
        ...

    def next(self) -> Job | None:
        """Return what a free core works on now, or None where nothing may be begun."""
        ...

    def ended(self, job: Job, now: float) -> None:
        """Hear that an event has ended."""
        ...

    def step(self, now: float) -> float:
        """Do what is to be done from time to time; return when that is next."""
        ...


def run(jobs: Sequence[Job], scheduler: Scheduler) -> None:
    """Let a scheduler work on a day; each job learns when it was done."""
    coming = sorted(jobs, key=lambda job: job.arrival.counts_from)
    working: list[tuple[float, int, Job]] = []
    place, left, now, step_at = 0, len(coming), 0.0, 0.0
    while left:
        comes_at = coming[place].arrival.counts_from if place < len(coming) else float("inf")
        now = min(comes_at, step_at, working[0][0] if working else float("inf"))
        if now == step_at:
            step_at = scheduler.step(now)
        while place < len(coming) and coming[place].arrival.counts_from <= now:
            scheduler.come(coming[place])
            place += 1
        while working and working[0][0] <= now:
            _, _, job = heapq.heappop(working)
            job.done_at = now
            left -= 1
            scheduler.ended(job, now)
        while len(working) < CORES and (found := scheduler.next()) is not None:
            if found.arrival.expires and now >= found.arrival.deadline:
                found.done_at, found.expired = now, True
                left -= 1
                scheduler.ended(found, now)
            else:
                heapq.heappush(working, (now + found.arrival.cost_s, found.number, found))
