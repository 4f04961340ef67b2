"""Owns whose turn it is: how the room in a lane's queue is shared between the sources that wait for it. Pure.

Start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996): each source has a virtual time that grows by 1/weight with
every pointer, and the one that is least far on goes next. A source that was away starts at the lane's time, so that
nobody saves up turns.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class FairQueue:
    """The turns of one lane."""

    _now: float = 0.0
    """The lane's virtual time: how far on the least far source is that still waits."""
    _at: dict[int, float] = field(default_factory=dict)
    """How far on a source is; one that isn't named is at the lane's time."""

    def allocate(self, weights: Mapping[int, int], room: int) -> dict[int, int]:
        """Return how many of ``room`` pointers each waiting source may publish now; together exactly ``room``."""
        quotas = dict.fromkeys(weights, 0)
        if not weights:
            return quotas
        turns = [(self._place(source), source) for source in weights]
        heapq.heapify(turns)
        for _ in range(room):
            at, source = turns[0]
            quotas[source] += 1
            heapq.heapreplace(turns, (at + 1 / weights[source], source))
        return quotas

    def charge(self, source: int, weight: int, count: int) -> None:
        """Say that a source has published ``count`` pointers."""
        self._at[source] = self._place(source) + count / weight

    def advance(self, waiting: Mapping[int, int]) -> None:
        """Say which sources still wait: the lane's time goes on to the least far of them."""
        places = [self._place(source) for source in waiting] or [max(self._at.values(), default=self._now)]
        self._now = max(self._now, min(places))
        self._at = {source: at for source, at in self._at.items() if at > self._now}

    def _place(self, source: int) -> float:
        return max(self._now, self._at.get(source, self._now))
