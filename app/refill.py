"""Owns which waiting events go into a lane's window: shared between the sources that wait, at the last moment.

Three rules. Sources take turns by weight (``app.fairness``). Sources that have little out may go a little beyond a
full window. And beside a source that floods, whoever stays within its share goes before it in the queue.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from app.bare import Executor
from app.broker import MAX_PRIORITY
from app.fairness import Turns
from app.inbox import due
from app.inbox.due import LaneLoad
from app.models import Lane
from app.pointers import Dispatch

_KEPT = 0.1
"""The share of a window that is kept for sources with little out: they don't wait for the others' pointers, nor for a
window that was larger a moment ago to shrink."""


@dataclass(slots=True)
class Refill:
    """Chooses for one lane; remembers whose turn it is."""

    lane: Lane
    _turns: Turns = field(default_factory=Turns)

    def take(self, session: Executor, load: LaneLoad, window: int) -> list[Dispatch]:
        """Take what is due up to the window, each presumed published; return it in the order to publish it in."""
        weights = due.waiting_sources(session, self.lane)
        taken: dict[int, list[Dispatch]] = {}
        hungry = dict(weights)
        kept = max(1, int(window * _KEPT))
        small = {source: count for source, count in load.out_by_source.items() if count < kept}
        if len(small) < len(load.out_by_source):
            first = {source: weight for source, weight in weights.items() if load.out_by_source.get(source, 0) < kept}
            still = self._take_turns(session, first, kept - sum(small.values()), taken)
            hungry = {source: weight for source, weight in weights.items() if source not in first or source in still}
        room = window - load.out - sum(map(len, taken.values()))
        hungry = self._take_turns(session, hungry, room, taken)
        self._turns.rest(hungry)
        alone = len(weights.keys() | load.out_by_source.keys()) == 1
        return _by_urgency(taken) if alone or not hungry else _beside_a_flood(taken, hungry)

    def _take_turns(
        self, session: Executor, weights: Mapping[int, int], room: int, taken: dict[int, list[Dispatch]]
    ) -> dict[int, int]:
        """Add what each source may take to ``taken``; return those that may have more waiting."""
        hungry = dict(weights)
        while room > 0 and hungry:
            quotas = {source: quota for source, quota in self._turns.share(hungry, room).items() if quota}
            for source, found in due.take_due(session, self.lane, quotas).items():
                self._turns.took(source, weights[source], len(found))
                taken.setdefault(source, []).extend(found)
                room -= len(found)
                if len(found) < quotas[source]:
                    del hungry[source]
        return hungry


def _by_urgency(taken: Mapping[int, list[Dispatch]]) -> list[Dispatch]:
    dispatches = [dispatch for of_source in taken.values() for dispatch in of_source]
    return sorted(dispatches, key=lambda dispatch: -dispatch.priority)


def _beside_a_flood(taken: Mapping[int, list[Dispatch]], flooding: Mapping[int, int]) -> list[Dispatch]:
    """Return the dispatches of those whose all is out before those of the flooding sources, the latter in turns.

    RabbitMQ orders by priority alone: without this a flood of a more urgent kind of event would pass by the few events
    of the others for as long as it lasts.
    """
    places: list[tuple[float, Dispatch]] = []
    for source, dispatches in taken.items():
        for turn, dispatch in enumerate(dispatches, start=1):
            if source in flooding:
                lower = min(dispatch.priority, MAX_PRIORITY - 1)
                places.append((turn / flooding[source], replace(dispatch, priority=lower)))
            else:
                places.append((0.0, replace(dispatch, priority=MAX_PRIORITY)))
    return [dispatch for _, dispatch in sorted(places, key=lambda place: place[0])]
