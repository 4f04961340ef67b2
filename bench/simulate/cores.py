"""Owns the simulated kernel: which worker process runs on a free core, by niceness (fair shares by weight).

A process that slept goes on from where the least far of the others is, so that it has saved nothing up. One that went
ahead while a core was free owes nothing for it: it is at most one event ahead of the least far.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.models import Lane

WEIGHTS = {Lane.HIGH: 1024, Lane.MEDIUM: 335, Lane.LOW: 110}
"""What Linux gives processes of niceness 0, 5 and 10 (``sched_prio_to_weight`` in kernel/sched/core.c)."""
PROCESSES = (Lane.HIGH, Lane.HIGH, Lane.MEDIUM, Lane.LOW)
"""The Procfile's workers."""


@dataclass(slots=True, eq=False)
class Process:
    """One worker process."""

    lane: Lane
    had: float = 0.0
    """How much of the cores it had, by its weight."""
    working: bool = False
    asleep: bool = True
    _charge: float = 0.0

    def begin(self, cost_s: float) -> None:
        """Charge it for the event that it begins."""
        self.working = True
        self._charge = cost_s / WEIGHTS[self.lane]
        self.had += self._charge

    def hold(self, least: float) -> None:
        """Keep it near the least far one."""
        self.had = max(self.had, least) if self.asleep else min(self.had, least + self._charge)
        self.asleep = False


@dataclass(slots=True)
class Cores:
    """The processes that share the cores."""

    processes: list[Process] = field(default_factory=lambda: [Process(lane) for lane in PROCESSES])
    _least: float = 0.0

    def next(self, with_work: Sequence[Process]) -> Process | None:
        """Return the process that runs next, of those that have something to do and don't work yet."""
        awake = [process for process in self.processes if process.working or process in with_work]
        least = min((process.had for process in awake if not process.asleep), default=self._least)
        self._least = max(self._least, least)
        for process in self.processes:
            if process in awake:
                process.hold(self._least)
            else:
                process.asleep = True
        return min((one for one in with_work if not one.working), key=lambda one: one.had, default=None)
