"""Owns what a policy answers: where an event goes, and why."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from app.models import Lane


@dataclass(frozen=True, slots=True)
class Decision:
    """Where an event goes, and why."""

    lane: Lane
    priority: int
    """In-queue priority, 0 to 9; a greater one goes first."""
    reasons: tuple[str, ...]
    score: int | None = None
    """Of the campaign matrix, 0 to 100; None where the matrix says nothing about this event."""
    rule: str = ""
    """The rule that matched first; the policy's ``otherwise`` where none did."""


class ScorePart(NamedTuple):
    """One factor's part of a score."""

    factor: str
    weight: float
    points: float | None
    """0 to 100; None where the event says nothing about it, so that the others count for more."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One rule that was looked at."""

    rule: str
    missed: str | None
    """What didn't hold; None where the rule matched."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and everything that led to it."""

    decision: Decision
    policy: int
    parts: tuple[ScorePart, ...]
    """Empty where the matrix doesn't look at such an event."""
    tried: tuple[Tried, ...]
    """In the policy's order, up to the rule that matched."""

    def as_json(self) -> dict[str, Any]:
        """Return it as the API and the command line show it."""
        total = sum(part.weight for part in self.parts if part.points is not None)
        return {
            "policy": self.policy,
            "lane": self.decision.lane.name.lower(),
            "priority": self.decision.priority,
            "score": self.decision.score,
            "rule": self.decision.rule,
            "reasons": list(self.decision.reasons),
            "factors": [
                {
                    "factor": part.factor,
                    "weight": part.weight,
                    "points": None if part.points is None else round(part.points, 1),
                    "share": None if part.points is None else round(part.weight / total, 3),
                }
                for part in self.parts
            ],
            "rules": [{"rule": one.rule, "matched": one.missed is None, "missed": one.missed} for one in self.tried],
        }
