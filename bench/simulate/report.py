"""Owns what is told of a simulated day: what each scheduler was worth, who waited how long, and what must hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.models import Lane
from bench.simulate.simulate import Job
from bench.simulate.trace import DAY_S, FLOOD_S, FLOODING, HOUR_S, NOON_S

SHARE_OF_BOUND = 0.95
OVER_FIFO = 0.25
SLOWER = 2.0
NOTICED_S = 0.1
"""A mean below this counts as this (the bounded slowdown of Feitelson, 2001): twice nothing is nothing."""
AFTER_FLOOD_S = 2 * HOUR_S
MOVES_WITHIN_S = 5.0
"""Low moves, where something of it ends at least so often while some of it waits."""


@dataclass(frozen=True, slots=True)
class Slowdown:
    """What the flood cost one source: its events of the flood's hour and the two after it."""

    source: str
    lane: Lane | None
    """None is all of the source's events."""
    alone_s: float
    """Their mean, from when they count to their end, on the day without the flood."""
    beside_s: float
    flooded: bool = True
    """Whether the flood came to this lane; to another lane it only costs what that one's rank costs."""

    @property
    def times(self) -> float:
        """How many times as long it took, where anybody could notice."""
        return max(self.beside_s, NOTICED_S) / max(self.alone_s, NOTICED_S)

    def __str__(self) -> str:
        where = "" if self.lane is None else f", {self.lane.name.lower()}"
        return f"{self.times:.2f} ({self.source}{where})"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one scheduler made of the day."""

    on_time: float
    """Of all value, the part that came in time."""
    p99_s: Mapping[Lane, float]
    longest_low_s: float
    low_shares: Sequence[float]
    """Low's part of the work in each minute of noon."""
    low_pause_s: float
    """The longest time in which nothing of low ended though some of it waited."""
    slowdowns: Sequence[Slowdown]
    by_hour: Sequence[float]
    """Of the value that counts from each hour on, the part that came in time."""

    @property
    def worst(self) -> Slowdown:
        """The source that lost most by the flood."""
        return max((one for one in self.slowdowns if one.lane is None), key=lambda one: one.times)

    @property
    def worst_in_flooded(self) -> Slowdown:
        """The source that lost most in a lane to which the flood came."""
        return max((one for one in self.slowdowns if one.lane is not None and one.flooded), key=lambda one: one.times)

    @property
    def worst_in_any(self) -> Slowdown:
        """The source that lost most in one lane, whichever."""
        return max((one for one in self.slowdowns if one.lane is not None), key=lambda one: one.times)


def figures(jobs: Sequence[Job], without_flood: Sequence[Job], scale: float = 1.0) -> Figures:
    """Return the figures of a day; ``without_flood`` is the same scheduler's on the day without its flood."""
    return Figures(
        on_time=on_time(jobs),
        p99_s={lane: _p99([_took_s(job) for job in jobs if job.lane is lane]) for lane in Lane},
        longest_low_s=max((_took_s(job) for job in jobs if job.lane is Lane.LOW), default=0.0),
        low_shares=_low_shares(jobs, scale),
        low_pause_s=low_pause_s([job for job in jobs if job.lane is Lane.LOW]),
        slowdowns=_slowdowns(jobs, without_flood, scale),
        by_hour=[on_time([job for job in jobs if _hour(job, scale) == hour]) for hour in range(24)],
    )


def on_time(jobs: Sequence[Job]) -> float:
    """Return the part of some events' value that came in time; of nothing, all."""
    total = sum(job.arrival.value for job in jobs)
    return sum(job.arrival.value for job in jobs if job.in_time) / total if total else 1.0


def low_pause_s(low: Sequence[Job]) -> float:
    """Return the longest time in which none of these ended though one of them waited."""
    moves = sorted([(job.arrival.counts_from, 1) for job in low] + [(job.done_at, -1) for job in low])
    waiting, since, longest = 0, 0.0, 0.0
    for at, change in moves:
        if waiting:
            longest = max(longest, at - since)
        if change < 0 or not waiting:
            since = at
        waiting += change
    return longest


def verdicts(found: Mapping[str, Figures], bound: float) -> dict[str, bool]:
    """Return what must hold of the policy, in words, and whether it does; ``bound`` is a part of all value."""
    ours, fifo = found["this policy"], found["FIFO"]
    worst, in_lane = ours.worst, ours.worst_in_flooded
    return {
        f"on time {ours.on_time:.1%}, of the bound {ours.on_time / bound:.1%} (>= {SHARE_OF_BOUND:.0%})": (
            ours.on_time / bound >= SHARE_OF_BOUND
        ),
        f"{(ours.on_time - fifo.on_time) * 100:.0f} points above FIFO (>= {OVER_FIFO * 100:.0f})": (
            ours.on_time - fifo.on_time >= OVER_FIFO
        ),
        f"the flood slowed a source at most {worst}, in times (<= {SLOWER:g})": (worst.times <= SLOWER),
        f"in the lanes that it came to, at most {in_lane}, in times (<= {SLOWER:g})": in_lane.times <= SLOWER,
        f"low moved at least every {ours.low_pause_s:.2f} s (<= {MOVES_WITHIN_S:g}), "
        f"and had {min(ours.low_shares):.0%} of the work in its worst minute of noon": (
            ours.low_pause_s <= MOVES_WITHIN_S and min(ours.low_shares) > 0
        ),
    }


def as_json(found: Mapping[str, Figures], bound: float) -> dict[str, Any]:
    """Return everything as JSON."""
    told: dict[str, Any] = {"bound": round(bound, 4), "schedulers": {}}
    for name, one in found.items():
        told["schedulers"][name] = {
            "on_time": round(one.on_time, 4),
            "of_bound": round(one.on_time / bound, 4),
            "p99_s": {lane.name.lower(): round(value, 3) for lane, value in one.p99_s.items()},
            "longest_low_s": round(one.longest_low_s, 1),
            "low_shares_at_noon": [round(share, 3) for share in one.low_shares],
            "low_pause_s": round(one.low_pause_s, 2),
            "by_hour": [round(share, 4) for share in one.by_hour],
            "slowdowns": [
                {
                    "source": slow.source,
                    "lane": None if slow.lane is None else slow.lane.name.lower(),
                    "alone_s": round(slow.alone_s, 3),
                    "beside_s": round(slow.beside_s, 3),
                    "times": round(slow.times, 2),
                }
                for slow in one.slowdowns
            ],
        }
    told["verdicts"] = verdicts(found, bound)
    return told


def _took_s(job: Job) -> float:
    return job.done_at - job.arrival.counts_from


def _hour(job: Job, scale: float) -> int:
    return min(int(job.arrival.counts_from / (HOUR_S * scale)), 23)


def _p99(values: Sequence[float]) -> float:
    ranked = sorted(values)
    return ranked[min(int(len(ranked) * 0.99), len(ranked) - 1)] if ranked else 0.0


def _low_shares(jobs: Sequence[Job], scale: float) -> list[float]:
    begin, end = (bound * scale for bound in NOON_S)
    minutes = round((end - begin) / (HOUR_S * scale))
    low, every = [0.0] * minutes, [0.0] * minutes
    for job in jobs:
        if begin <= job.done_at < end and not job.expired:
            minute = min(int((job.done_at - begin) / (HOUR_S * scale)), minutes - 1)
            every[minute] += job.arrival.cost_s
            low[minute] += job.arrival.cost_s * (job.lane is Lane.LOW)
    return [part / whole if whole else 0.0 for part, whole in zip(low, every, strict=True)]


def _slowdowns(jobs: Sequence[Job], without_flood: Sequence[Job], scale: float) -> list[Slowdown]:
    """Return what the flood cost each source but its own, by lane and over all of them."""
    begin, end = FLOOD_S[0] * scale, min(FLOOD_S[1] + AFTER_FLOOD_S, DAY_S) * scale
    alone = {job.number: job for job in without_flood if begin <= job.arrival.counts_from < end}
    pairs: dict[tuple[str, Lane | None], list[tuple[float, float]]] = {}
    for job in jobs:
        if job.number in alone and job.arrival.source != FLOODING:
            pair = (_took_s(alone[job.number]), _took_s(job))
            for lane in (None, job.lane):
                pairs.setdefault((job.arrival.source, lane), []).append(pair)
    flooded = {None, *(job.lane for job in jobs if job.arrival.flood)}
    return [
        Slowdown(
            *key,
            alone_s=sum(before for before, _ in took) / len(took),
            beside_s=sum(after for _, after in took) / len(took),
            flooded=key[1] in flooded,
        )
        for key, took in pairs.items()
    ]
