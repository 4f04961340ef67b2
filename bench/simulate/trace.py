"""Owns the simulated campaign day: what arrives when, from whom, until when it helps, and what that is worth.

Made from a seed, the same at every run. It knows no scheduler, lane or policy. It was committed before any policy was
held against it, and a test holds its digest: tune the policy, never the trace.

A minute stands for an hour, so that a day has a quarter of a million events; deadlines are seconds as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from app.models import Lane
from bench.simulate.service import CORES, COST_S

SEED = 20_261_127
"""A Black Friday."""
HOUR_S = 60.0
DAY_S = 24 * HOUR_S
EPOCH = 1_795_737_600.0
"""The day's first second, in Unix seconds: 2026-11-27."""
NOON_S = (12 * HOUR_S, 15 * HOUR_S)
NOON = 3.0
"""What arrives in those hours, in what the machine can do."""
FLOOD_S = (18 * HOUR_S, 19 * HOUR_S)
TENANTS = {"north": 30, "south": 24, "east": 16, "west": 12, "outlet": 10, "bulk": 8}
"""Their shares of the day, in percent."""
FLOODING = "bulk"
_HOURS = (12, 10, 8, 8, 8, 10, 15, 22, 30, 36, 42, 48, 0, 0, 0, 48, 45, 42, 40, 42, 45, 40, 30, 20)
"""What arrives in each hour, in percent of what the machine can do; noon is ``NOON``."""
_REVENUES = ((1_000, 5.0, 40), (10_000, 15.0, 35), (100_000, 40.0, 20), (1_000_000, 100.0, 5))
"""A promotion's expected revenue, what it is worth in time, and how often, in percent."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event."""

    type: str
    cost: Lane
    """The lane whose cost it has."""
    value: float
    """What it is worth to be applied in time."""
    in_time_s: float
    """How long after it counts it is in time."""
    usual: float
    """Its part of what arrives on a usual hour, by processor time; the parts of all make up 100."""
    noon: float
    """Its part of what arrives at noon."""
    expires: bool = False
    """Whether it says, in ``expires_at``, that it helps nobody after its time."""


KINDS = (
    Kind("price.updated", Lane.HIGH, 10.0, 1.0, 20, 9),
    Kind("inventory.sold_out", Lane.HIGH, 12.0, 1.0, 3, 2),
    Kind("promotion.started", Lane.HIGH, 0.0, 2.0, 2, 2),
    Kind("promotion.updated", Lane.HIGH, 2.0, 60.0, 3, 2),
    Kind("product.updated", Lane.HIGH, 4.0, 5.0, 5, 3),
    Kind("currency.updated", Lane.MEDIUM, 3.0, 20.0, 2, 1),
    Kind("lead.created", Lane.MEDIUM, 3.0, 30.0, 4, 4),
    Kind("segment.updated", Lane.MEDIUM, 1.0, 60.0, 12, 10),
    Kind("content.updated", Lane.MEDIUM, 1.5, 45.0, 5, 3, expires=True),
    Kind("customer.updated", Lane.MEDIUM, 0.5, 120.0, 10, 7),
    Kind("log.recorded", Lane.LOW, 0.05, 300.0, 22, 37),
    Kind("analytics.recorded", Lane.LOW, 0.05, 300.0, 12, 20),
)
PROMOTION = "promotion.started"
RESYNC = Kind("product.resynced", Lane.LOW, 0.1, 400.0, 0, 0)
REIMPORT = Kind("price.updated", Lane.HIGH, 3.0, 60.0, 0, 0)
"""A price of a whole list that is sent again: it rarely changes anything."""
_FLOOD = ((RESYNC, 1.5, FLOOD_S), (REIMPORT, 2.0, (FLOOD_S[0] + 10, FLOOD_S[0] + 20)))
"""What the flooding tenant sends beside its usual events, in what the machine can do, from when to when."""
_BURSTS = {"price.updated": 40, "segment.updated": 60, "log.recorded": 100, "analytics.recorded": 100}
"""Events of some kinds come in bursts of about so many within a second: a price list, a send-out, a buffer."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event of the day; times in seconds from its begin."""

    at: float
    source: str
    type: str
    cost_s: float
    value: float
    counts_from: float
    """When it arrives, or its ``effective_at``."""
    deadline: float
    expires: bool
    flood: bool
    data: dict[str, Any]
    """What the sender's object says beside its id."""


def day(seed: int = SEED, *, flood: bool = True, scale: float = 1.0) -> list[Arrival]:
    """Return the day's events by ascending arrival; ``scale`` shortens every hour, for tests.

    Without the flood it is the same day but for the flood's own events.
    """
    dice = Random(seed)
    arrivals = [arrival for hour in range(24) for arrival in _hour(dice, hour, scale)]
    storm = [arrival for kind, load, (begin, end) in _FLOOD for arrival in _storm(dice, kind, load, begin, end, scale)]
    return sorted([*arrivals, *storm] if flood else arrivals, key=lambda arrival: arrival.at)


def _hour(dice: Random, hour: int, scale: float) -> Iterator[Arrival]:
    begin = hour * HOUR_S * scale
    noon = NOON_S[0] <= hour * HOUR_S < NOON_S[1]
    load = NOON if noon else _HOURS[hour] / 100
    for kind in KINDS:
        part = (kind.noon if noon else kind.usual) / 100
        left = load * part * CORES / COST_S[kind.cost] * HOUR_S * scale
        while left >= 1 or dice.random() < left:
            mean = _BURSTS.get(kind.type, 1)
            size = min(dice.randint(1, 2 * mean - 1), max(1, round(left)))
            left -= size
            at = begin + dice.random() * HOUR_S * scale
            source = dice.choices(list(TENANTS), list(TENANTS.values()))[0]
            for _ in range(size):
                yield _arrival(dice, kind, at + dice.random() * (size > 1), source)


def _storm(dice: Random, kind: Kind, load: float, begin: float, end: float, scale: float) -> Iterator[Arrival]:
    for _ in range(round(load * CORES / COST_S[kind.cost] * (end - begin) * scale)):
        yield _arrival(dice, kind, dice.uniform(begin, end) * scale, FLOODING, flood=True)


def _arrival(dice: Random, kind: Kind, at: float, source: str, *, flood: bool = False) -> Arrival:
    value, counts_from, data = kind.value, at, dict[str, Any]()
    if kind.type == PROMOTION:
        revenue, value, _ = dice.choices(_REVENUES, [often for _, _, often in _REVENUES])[0]
        # A third are sent ahead, with the time from when they count.
        ahead = dice.uniform(2, 60) if dice.random() < 1 / 3 else 0.0
        counts_from = at + ahead
        data = {"expected_revenue": revenue, "starts_at": EPOCH + counts_from, "ends_at": EPOCH + counts_from + 7_200}
        data |= {"effective_at": EPOCH + counts_from} if ahead else {}
    elif kind.type == "promotion.updated":
        starts = EPOCH + at + dice.choice((2, 20, 60)) * 86_400
        data = {"expected_revenue": dice.choice((100, 1_000, 10_000)), "starts_at": starts, "ends_at": starts + 86_400}
    elif kind.type == "product.updated":
        data = {"price": "19.90"}
    deadline = counts_from + kind.in_time_s
    if kind.expires:
        data["expires_at"] = EPOCH + deadline
    return Arrival(at, source, kind.type, COST_S[kind.cost], value, counts_from, deadline, kind.expires, flood, data)
