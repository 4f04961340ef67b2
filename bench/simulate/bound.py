"""Owns the upper bound: no scheduler of this machine, not even one that knows the day beforehand, is worth more.

A relaxation: events may be worked on by both cores at once, be interrupted at any time, and be done in part for that
part of their value; begins are moved down and deadlines up to a whole slot. Each schedule of the real machine is one
of the relaxed machine and worth as much there, so the best of these is a bound.

It is found exactly. What can be done in time of some amounts of work with begins and deadlines is a polymatroid, so
that the greedy way (by value for a second of work) is the best one (Edmonds 1970). Its value is the sum, over the
steps between densities, of the most work of that density and more that can be done in time; and the most work is done
by whoever works, at any moment, on what has the nearest deadline (Glover 1967, for convex bipartite graphs).
"""

import heapq
import math
from collections.abc import Sequence
from itertools import pairwise

from bench.simulate.service import CORES
from bench.simulate.trace import Arrival

SLOT_S = 0.05


def upper_bound(arrivals: Sequence[Arrival], slot_s: float = SLOT_S) -> float:
    """Return the most value that can be had of a day."""
    density = [arrival.value / arrival.cost_s for arrival in arrivals]
    steps = sorted(set(density), reverse=True)
    total = 0.0
    for at_least, below in pairwise([*steps, 0.0]):
        chosen = [one for one, worth in zip(arrivals, density, strict=True) if worth >= at_least]
        total += (at_least - below) * most_work_s(chosen, slot_s)
    return total


def most_work_s(arrivals: Sequence[Arrival], slot_s: float = SLOT_S) -> float:
    """Return how much of the work can be done in time at the most, in seconds of a core."""
    amounts: dict[tuple[int, int], float] = {}
    for one in arrivals:
        key = (math.floor(one.counts_from / slot_s), math.ceil(one.deadline / slot_s))
        amounts[key] = amounts.get(key, 0.0) + one.cost_s
    coming = sorted(amounts.items())
    waiting: list[tuple[int, float]] = []
    done, place, slot = 0.0, 0, 0
    while place < len(coming) or waiting:
        if not waiting:
            slot = max(slot, coming[place][0][0])
        while place < len(coming) and coming[place][0][0] <= slot:
            (_, until), amount = coming[place]
            heapq.heappush(waiting, (until, amount))
            place += 1
        room = CORES * slot_s
        while waiting and room > 0:
            until, amount = heapq.heappop(waiting)
            if until <= slot:
                continue
            part = min(amount, room)
            room -= part
            done += part
            if amount > part:
                heapq.heappush(waiting, (until, amount - part))
        slot += 1
    return done
