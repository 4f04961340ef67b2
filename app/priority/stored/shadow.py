"""Owns a candidate's shadow in a receiver: asked beside the live policy, its answers counted, no more.

Its cost is bounded: of a busy second's events only every so many-th is compared.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from sqlalchemy import text

from app.db.pipeline import Executor
from app.events.incoming import Incoming
from app.models import Lane
from app.priority import Compiled, Decision

PER_SECOND = 200
"""How many events a second are compared, in each process; a busier second is sampled."""
Cell = tuple[int, int, Lane, Lane, str]
"""(the candidate's version, the live one's, the live lane, the candidate's lane, the candidate's rule)."""

# Adds up where the candidate would have decided otherwise.
_ADD = text("""
INSERT INTO priority_shadow AS s (version, against, live_lane, candidate_lane, rule, events)
SELECT * FROM unnest(CAST(:version AS int[]), CAST(:against AS int[]), CAST(:live_lane AS smallint[]),
                     CAST(:candidate_lane AS smallint[]), CAST(:rule AS text[]), CAST(:events AS bigint[]))
ORDER BY 1, 2, 3, 4, 5
ON CONFLICT (version, against, live_lane, candidate_lane, rule) DO UPDATE SET events = s.events + excluded.events
""")


class Shadow:
    """One candidate beside one live policy. Safe for many threads."""

    def __init__(
        self, candidate: Compiled, *, per_second: int = PER_SECOND, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.candidate = candidate
        self._per_second = per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._cells: Counter[Cell] = Counter()
        self._second = 0
        self._seen = 0
        self._compared = 0
        self._every = 1

    @property
    def counted(self) -> bool:
        """Whether anything was counted since ``take``."""
        return bool(self._cells)

    def compare(self, live: Compiled, decided: Decision, incoming: Incoming, *, kind: str, at: float) -> None:
        """Ask the candidate about an event that the live policy has decided, and count what it says."""
        if not self._wanted():
            return
        would = self.candidate.decide(incoming, kind=kind, at=at)
        cell = (self.candidate.version, live.version, decided.lane, would.lane, would.rule)
        with self._lock:
            self._cells[cell] += 1

    def take(self) -> dict[Cell, int]:
        """Return what was counted since the last time, and forget it."""
        with self._lock:
            taken, self._cells = dict(self._cells), Counter()
        return taken

    def _wanted(self) -> bool:
        second = int(self._clock())
        with self._lock:
            if second != self._second:
                # As busy as the last second was, so thin is this one's sample: it covers all of the second.
                self._every = max(1, -(-self._seen // self._per_second)) if second == self._second + 1 else 1
                self._second, self._seen, self._compared = second, 0, 0
            self._seen += 1
            if self._seen % self._every or self._compared >= self._per_second:
                return False
            self._compared += 1
            return True


def add(session: Executor, cells: Mapping[Cell, int]) -> None:
    """Add counts to those that are kept."""
    keys = list(zip(*cells, strict=True))
    names = ("version", "against", "live_lane", "candidate_lane", "rule")
    values: dict[str, Iterable[object]] = {name: list(column) for name, column in zip(names, keys, strict=True)}
    values |= {name: [int(lane) for lane in keys[place]] for place, name in ((2, "live_lane"), (3, "candidate_lane"))}
    session.execute(_ADD, {**values, "events": list(cells.values())})
