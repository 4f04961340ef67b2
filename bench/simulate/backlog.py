"""Owns the simulated PostgreSQL: what waits behind one lane's window, chosen from as ``app.inbox.due`` chooses.

``test_the_days_backlog_picks_what_sql_picks`` holds the two against each other.
"""

import heapq
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.messaging.pointer import Dispatch, Pointer
from app.models import Lane
from bench.simulate.simulate import Job


@dataclass(slots=True)
class MemoryBacklog:
    """The jobs of one lane that wait, by source and priority, the longest due first."""

    lane: Lane
    jobs: dict[uuid.UUID, Job] = field(default_factory=dict)
    _queues: dict[int, dict[int, list[tuple[float, int, Job]]]] = field(default_factory=dict)
    _waiting: dict[int, int] = field(default_factory=dict)

    def add(self, job: Job) -> None:
        """Let a job wait."""
        self.jobs[event_id(job)] = job
        queues = self._queues.setdefault(job.source, {})
        heapq.heappush(queues.setdefault(job.priority, []), (job.arrival.counts_from, job.number, job))
        self._waiting[job.source] = self._waiting.get(job.source, 0) + 1

    def remove(self, job: Job) -> None:
        """Let a job wait no longer."""
        del self.jobs[event_id(job)]
        self._waiting[job.source] -= 1
        queue = self._queues[job.source][job.priority]
        queue.remove((job.arrival.counts_from, job.number, job))
        heapq.heapify(queue)

    def sources(self) -> dict[int, int]:
        """Return the sources that wait; all have weight 1."""
        return {source: 1 for source, count in sorted(self._waiting.items()) if count}

    def take(self, quotas: Mapping[int, int]) -> dict[int, list[Dispatch]]:
        """Take up to a quota of each source, its most urgent first."""
        return {source: self._of(source, quota) for source, quota in quotas.items()}

    def _of(self, source: int, quota: int) -> list[Dispatch]:
        taken: list[Dispatch] = []
        for priority in range(9, -1, -1):
            queue = self._queues.get(source, {}).get(priority)
            while queue and len(taken) < quota:
                _, _, job = heapq.heappop(queue)
                taken.append(Dispatch(Pointer(event_id(job), 0), self.lane, priority))
        self._waiting[source] = self._waiting.get(source, 0) - len(taken)
        return taken


def event_id(job: Job) -> uuid.UUID:
    """Return the id that a job's pointer carries."""
    return uuid.UUID(int=job.number)
