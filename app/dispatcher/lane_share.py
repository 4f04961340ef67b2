"""Owns what the less urgent lanes may have while high has more to do than it can: a reserved share, and no more."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.models import Lane

SHARES: Mapping[Lane, float] = {Lane.MEDIUM: 0.12, Lane.LOW: 0.07}
"""Events of the lane for each of high's."""
_STUCK_S = 1.0
"""Where nothing of high moves for so long its workers are gone, and nobody is served by the others' waiting."""
_MOST = 100.0


@dataclass(slots=True)
class LaneShare:
    """Says each step what a lane may be given; times are monotonic seconds."""

    _credits: dict[Lane, float] = field(default_factory=lambda: dict.fromkeys(SHARES, 0.0))
    _held: bool = False
    _out: int = 0
    _moved_at: float = float("-inf")

    def observe(self, *, behind: bool, out: int, given: int, now: float) -> None:
        """Note high's state: whether it has more to do than it can, what is out, and what it was given just now.

        It has where events wait behind its window, or so many are out that it is closed: while it is open it is given
        nothing here, and the others would have their share of that.
        """
        if given or out < self._out:
            self._moved_at = now
        self._out = out + given
        self._held = behind and now < self._moved_at + _STUCK_S
        for lane, share in SHARES.items():
            self._credits[lane] = min(_MOST, self._credits[lane] + share * given) if self._held else 0.0

    def allowance(self, lane: Lane) -> int | None:
        """Return how many events the lane may be given now; None where it may have all it has room for."""
        return int(self._credits[lane]) if self._held and lane in SHARES else None

    def consume(self, lane: Lane, count: int) -> None:
        """Note what the lane was given."""
        if lane in SHARES:
            self._credits[lane] -= count
