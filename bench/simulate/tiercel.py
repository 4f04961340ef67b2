"""Owns Tiercel in the simulated day: its own policy and refill, around a model of its queues and worker processes.

Real: the lane, priority and score (``app.priority``), whose turn it is and what goes before what
(``app.dispatcher.refill``, ``app.dispatcher.fair_queueing``), when a lane is open, windows and steps (the constants of
``app.dispatcher.loop``). Modelled: RabbitMQ's queues as heaps by priority, the Procfile's processes under the kernel's
fair sharing by niceness, and PostgreSQL (``backlog``).
"""

import heapq
import uuid
from collections import deque

from app.dispatcher.lane_share import LaneShare
from app.dispatcher.loop import _BUSY_STEP_S, _CROWDED, _DRAIN_OVER_S, _MIN_WINDOW, _OPEN_BELOW, _PULSE_S
from app.dispatcher.refill import Refill
from app.inbox.due import LaneLoad
from app.models import Lane
from bench.simulate.backlog import MemoryBacklog
from bench.simulate.cores import Cores, Process
from bench.simulate.simulate import Job
from config.settings import Settings

_LAST_QUARTER = 4


def _default(name: str) -> float:
    return float(Settings.model_fields[name].default)


class Tiercel:
    """The dispatcher, three queues, four worker processes."""

    def __init__(self) -> None:
        self._queues: dict[Lane, list[tuple[int, int, Job]]] = {lane: [] for lane in Lane}
        self._backlogs = {lane: MemoryBacklog(lane) for lane in Lane}
        self._refills = {lane: Refill(lane) for lane in Lane}
        self._out: dict[Lane, dict[int, int]] = {lane: {} for lane in Lane}
        self._lane_share = LaneShare()
        self._open = dict.fromkeys(Lane, True)
        self._expiring: dict[uuid.UUID, tuple[Lane, Job]] = {}
        self._ended: dict[Lane, deque[float]] = {lane: deque() for lane in Lane}
        self._drain = dict.fromkeys(Lane, 0.0)
        self._cores = Cores()
        self._by_job: dict[int, Process] = {}
        self._published = 0
        self._pulse_at = 0.0
        self._interval_s = _default("dispatch_interval_s")
        self._window_s = _default("window_s")
        self._window_most = int(_default("window_pointers"))
        self._near_s = _default("deadline_near_s")

    def come(self, job: Job) -> None:
        """Store an event: published at once while its lane is open, else left to the dispatcher."""
        if self._open[job.lane]:
            self._publish(job, job.lane, job.priority)
        else:
            self._wait(job, job.lane)

    def next(self) -> Job | None:
        """Return what the process that has had the least of the cores takes from its queue."""
        process = self._cores.next([process for process in self._cores.processes if self._queues[process.lane]])
        if process is None:
            return None
        _, _, job = heapq.heappop(self._queues[process.lane])
        process.begin(job.arrival.cost_s)
        self._by_job[job.number] = process
        return job

    def ended(self, job: Job, now: float) -> None:
        """Free the process, and the place in the lane's window."""
        process = self._by_job.pop(job.number)
        process.working = False
        out = self._out[process.lane]
        out[job.source] -= 1
        if not out[job.source]:
            del out[job.source]
        self._ended[process.lane].append(now)

    def step(self, now: float) -> float:
        """Do one step of the dispatcher."""
        if now >= self._pulse_at:
            self._pulse_at = now + _PULSE_S
            self._count(now)
            self._look_at_deadlines(now)
        behind = [self._serve(lane, now) for lane in Lane]
        return now + (_BUSY_STEP_S if any(behind) or not all(self._open.values()) else self._interval_s)

    def _serve(self, lane: Lane, now: float) -> bool:
        window = min(self._window_most, max(_MIN_WINDOW, int(self._drain[lane] * self._window_s)))
        backlog, out = self._backlogs[lane], self._out[lane]
        total = sum(out.values())
        taken = []
        waits, at_most = bool(backlog.jobs), self._lane_share.allowance(lane)
        if waits:
            load = LaneLoad(lane, total, dict(out), backlog=True)
            taken = self._refills[lane].select(backlog, load, window, at_most)
            for dispatch in taken:
                job = backlog.jobs.pop(dispatch.pointer.event_id)
                self._expiring.pop(dispatch.pointer.event_id, None)
                self._publish(job, lane, dispatch.priority)
        self._lane_share.consume(lane, len(taken))
        behind = waits and len(taken) >= (max(0, window - total) if at_most is None else at_most)
        few = total + len(taken) < _OPEN_BELOW[lane]
        if lane is Lane.HIGH:
            self._lane_share.observe(behind=behind or not few, out=total, given=len(taken), now=now)
        crowded = max(out.values(), default=0) >= window * _CROWDED
        self._open[lane] = not behind and few and not crowded and at_most is None
        return behind

    def _publish(self, job: Job, lane: Lane, priority: int) -> None:
        self._published += 1
        heapq.heappush(self._queues[lane], (-priority, self._published, job))
        out = self._out[lane]
        out[job.source] = out.get(job.source, 0) + 1

    def _wait(self, job: Job, lane: Lane) -> None:
        self._backlogs[lane].add(job)
        if job.arrival.expires:
            self._expiring[uuid.UUID(int=job.number)] = (lane, job)

    def _count(self, now: float) -> None:
        for lane, ended in self._ended.items():
            while ended and ended[0] < now - _DRAIN_OVER_S:
                ended.popleft()
            self._drain[lane] = len(ended) / _DRAIN_OVER_S

    def _look_at_deadlines(self, now: float) -> None:
        """Bring forward what waits and would soon be too late, as ``app.inbox.deadlines`` does."""
        for lane, job in list(self._expiring.values()):
            left_s = job.arrival.deadline - now
            if 0 < left_s <= self._near_s / _LAST_QUARTER and job.promoted < 2:
                self._promote(job, lane, Lane(max(lane - 1, 0)), 2)
            elif 0 < left_s <= self._near_s and not job.promoted:
                self._promote(job, lane, lane, 1)

    def _promote(self, job: Job, lane: Lane, to: Lane, step: int) -> None:
        self._backlogs[lane].remove(job)
        job.priority, job.promoted = 9, step
        self._wait(job, to)
