"""Owns which waiting events go into a lane's window: shared between the sources that wait, at the last moment.

Three rules. Sources take turns by weight (``app.dispatcher.fair_queueing``). A source with few events out and few
waiting may exceed a full window slightly. And when one source floods, the events of sources that stay within their
share are published before its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from app.db.pipeline import Executor
from app.dispatcher.fair_queueing import FairQueue
from app.inbox import due
from app.inbox.due import LaneLoad
from app.messaging.pointer import Dispatch
from app.messaging.publisher import MAX_PRIORITY
from app.models import Lane

_KEPT = 0.1
"""The share of a window that is kept for sources with little out: they don't wait for the others' pointers, nor for a
window that was larger a moment ago to shrink."""


class Backlog(Protocol):
    """What waits behind one lane's window; PostgreSQL's is ``due.LaneBacklog``, the simulated day has its own."""

    def sources(self) -> dict[int, int]:
        """Return the weight of each source that has something waiting, due or not."""
        ...

    def take(self, quotas: Mapping[int, int]) -> dict[int, list[Dispatch]]:
        """Take up to a quota of due events of each source, its most urgent first."""
        ...


@dataclass(slots=True)
class Refill:
    """Chooses for one lane; remembers whose turn it is."""

    lane: Lane
    _fair_queue: FairQueue = field(default_factory=FairQueue)
    _flooding: frozenset[int] = frozenset()
    """Sources that had more waiting when the last window was full. They have only their turns: whose events are the
    more urgent ones has little out because it is soon worked on, and would go beyond the window for ever."""

    def take(self, session: Executor, load: LaneLoad, window: int, at_most: int | None = None) -> list[Dispatch]:
        """Take what is due up to the window, each presumed published; return it in the order to publish it in.

        ``at_most`` bounds what is taken now, for all sources together; none of them goes beyond that.
        """
        return self.select(due.LaneBacklog(session, self.lane), load, window, at_most)

    def select(self, backlog: Backlog, load: LaneLoad, window: int, at_most: int | None = None) -> list[Dispatch]:
        """Do the same from any backlog."""
        if at_most is not None:
            window, load = min(at_most, window - load.out), LaneLoad(load.lane, 0, {}, backlog=load.backlog)
            if window <= 0:
                return []
        weights = backlog.sources()
        taken: dict[int, list[Dispatch]] = {}
        backlogged = dict(weights)
        kept = max(1, int(window * _KEPT))
        out = load.out_by_source
        if max(out.values(), default=0) >= kept:
            used = sum(count for source, count in out.items() if count < kept and source not in self._flooding)
            small = {source for source in weights if out.get(source, 0) < kept} - self._flooding
            first = {source: weight for source, weight in weights.items() if source in small}
            still = self._take_turns(backlog, first, kept - used, taken)
            backlogged = {
                source: weight for source, weight in weights.items() if source not in first or source in still
            }
        room = window - load.out - sum(map(len, taken.values()))
        backlogged = self._take_turns(backlog, backlogged, room, taken)
        self._fair_queue.advance(backlogged)
        self._flooding = frozenset(source for source in backlogged if source in taken or source in self._flooding)
        alone = len(weights.keys() | load.out_by_source.keys()) == 1
        return _by_urgency(taken) if alone or not backlogged else _beside_a_flood(taken, backlogged)

    def _take_turns(
        self, backlog: Backlog, weights: Mapping[int, int], room: int, taken: dict[int, list[Dispatch]]
    ) -> dict[int, int]:
        """Add what each source may take to ``taken``; return those that may have more waiting."""
        backlogged = dict(weights)
        while room > 0 and backlogged:
            quotas = {source: quota for source, quota in self._fair_queue.allocate(backlogged, room).items() if quota}
            for source, found in backlog.take(quotas).items():
                self._fair_queue.charge(source, weights[source], len(found))
                taken.setdefault(source, []).extend(found)
                room -= len(found)
                if len(found) < quotas[source]:
                    del backlogged[source]
        return backlogged


def _by_urgency(taken: Mapping[int, list[Dispatch]]) -> list[Dispatch]:
    dispatches = [dispatch for of_source in taken.values() for dispatch in of_source]
    return sorted(dispatches, key=lambda dispatch: -dispatch.priority)


def _beside_a_flood(taken: Mapping[int, list[Dispatch]], flooding: Mapping[int, int]) -> list[Dispatch]:
    """Return the dispatches of those whose all is out before those of the flooding sources, the latter in turns.

    RabbitMQ orders by priority alone: without this a flood of a more urgent kind of event would pass by the few events
    of the others for as long as it lasts, and also what the receiver has published directly before the flood came.
    """
    places: list[tuple[float, Dispatch]] = []
    for source, dispatches in taken.items():
        for turn, dispatch in enumerate(dispatches, start=1):
            if source in flooding:
                places.append((turn / flooding[source], replace(dispatch, priority=0)))
            else:
                places.append((0.0, replace(dispatch, priority=MAX_PRIORITY)))
    return [dispatch for _, dispatch in sorted(places, key=lambda place: place[0])]
