"""Owns the pressure: how much too much there is to do, from 0 to 1, and what it leaves of each lane's budget. Pure.

It takes the lanes one after the other: up to a third low's budget shrinks, up to two thirds medium's too, and only
then high's. A budget shrinks by powers, so however generous it is the pressure finds the point where it bites.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from app.models import Lane
from config.settings import Settings

FULL = 4.0
"""A time of so many thresholds is full pressure."""
_RISE, _FALL = 1 / 6, 1 / 30
"""A second: one slow commit refuses nobody, and what was refused comes back bit by bit."""
_TURN = {Lane.LOW: 0, Lane.MEDIUM: 1, Lane.HIGH: 2}
_LEAST = {Lane.LOW: 0.001, Lane.MEDIUM: 0.001, Lane.HIGH: 0.1}


@dataclass(frozen=True, slots=True)
class Signals:
    """What is seen."""

    commit_s: float
    """How long a group commit takes."""
    memory: float
    """The share of the machine's, or container's, memory in use."""
    oldest_due_age_s: Mapping[Lane, float]
    """Of the lanes in which something is due."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where pressure begins."""

    commit_s: float
    memory: float
    oldest_due_age_s: Mapping[Lane, float]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return those of a deployment."""
        ages = {
            Lane.HIGH: settings.pressure_age_high_s,
            Lane.MEDIUM: settings.pressure_age_medium_s,
            Lane.LOW: settings.pressure_age_low_s,
        }
        return cls(settings.pressure_commit_s, settings.pressure_memory, ages)

    def target(self, seen: Signals) -> float:
        """Return the pressure that these signals mean: the worst decides.

        A lane's own age can only shrink that lane and those less urgent.
        """
        ages = [
            _over(age, self.oldest_due_age_s[lane]) * (_TURN[lane] + 1) / len(Lane)
            for lane, age in seen.oldest_due_age_s.items()
        ]
        memory = min(1.0, max(0.0, (seen.memory - self.memory) / (1 - self.memory)))
        return max([_over(seen.commit_s, self.commit_s), memory, *ages])


def step(level: float, target: float, seconds: float) -> float:
    """Return the pressure after some seconds: it rises fast and falls slowly, so that it doesn't flap."""
    return min(target, level + _RISE * seconds) if target > level else max(target, level - _FALL * seconds)


def factor(lane: Lane, level: float) -> float:
    """Return what is left of a lane's budget, from 1 down."""
    depth = min(1.0, max(0.0, level * len(Lane) - _TURN[lane]))
    return float(_LEAST[lane] ** depth)


def _over(seconds: float, threshold: float) -> float:
    return min(1.0, max(0.0, (seconds / threshold - 1) / (FULL - 1)))
