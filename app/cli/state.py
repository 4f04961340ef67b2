"""Owns what a check of ``tiercel doctor`` says: a name, a state, what was found, and what to do."""

from dataclasses import dataclass
from enum import Enum


class SystemState(Enum):
    """What came of a check."""

    OK = "ok"
    WARNING = "warning"
    """Tiercel works without it."""
    WRONG = "wrong"
    SKIPPED = "skipped"
    """Can't be told while something above is wrong."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked."""

    name: str
    state: SystemState
    detail: str
    advice: str | None = None
    """What to do; None where nothing is."""
