"""Owns the version gate: whether an event's state may replace what its entity has. Pure.

One total order per entity: (version, sequence, operation, fingerprint). Operation and fingerprint only decide ties:
delete > update > create, then the greater fingerprint; never our id, never the arrival. So any order of arrival,
with any repetition, ends in the same row.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto

from app.events.incoming import Operation


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a state stands in its entity's total order."""

    version: Decimal
    sequence: Decimal
    operation: Operation
    fingerprint: bytes

    def ties_with(self, other: "Position") -> bool:
        """Tell whether only the tie rule orders the two."""
        return (self.version, self.sequence) == (other.version, other.sequence) and self != other


@dataclass(frozen=True, slots=True)
class State:
    """An entity as it is, or as an event would have it."""

    position: Position
    final: bool
    """A delete that nothing lifts: the sender gave it no version and never uses an id again."""
    data: str | None
    """Canonical JSON; None is deleted."""


class Verdict(Enum):
    """What the gate says of an event's state."""

    WRITE = auto()
    """It is newer and different."""
    ADVANCE = auto()
    """It is newer with the same content: only the version moves."""
    SAME = auto()
    """It is what stands there already."""
    STALE = auto()
    TOMBSTONED = auto()


def judge(current: State | None, offered: State) -> Verdict:
    """Return what becomes of ``offered`` where ``current`` stands."""
    if current is None:
        return Verdict.WRITE
    if offered.position == current.position and offered.final == current.final:
        return Verdict.SAME
    if current.final and offered.data is not None:
        return Verdict.TOMBSTONED
    if current.final != offered.final:
        return Verdict.WRITE if offered.final else Verdict.SAME
    if offered.position < current.position:
        return Verdict.STALE if current.data is not None or offered.data is None else Verdict.TOMBSTONED
    return Verdict.ADVANCE if offered.data == current.data else Verdict.WRITE
