"""Owns how the receiver processes of one gunicorn share connections: each knows how many the others have.

They wait on the same listener, and whoever is quickest takes what comes: of a burst often everything, and then for as
long as its senders keep their connections one process works and the others are idle.
"""

import mmap

_MOST = 1024
# Anonymous, and made where the master imports this, so that every process it forks has the same page.
_COUNTS = memoryview(mmap.mmap(-1, _MOST * 4)).cast("i")
"""By process: its connections plus one; 0 is nobody."""


class Balance:
    """One process's place among ``processes``. ``number`` tells them apart, as gunicorn's ``age`` does."""

    def __init__(self, number: int, processes: int) -> None:
        # Twice: after a reload the old ones finish what they have, beside the new ones.
        self._counts = _COUNTS[: min(2 * processes, _MOST)]
        self._slot = number % len(self._counts)

    def say(self, connections: int) -> None:
        """Let the others know how many connections this process has."""
        self._counts[self._slot] = connections + 1

    def leave(self) -> None:
        """Be counted no longer; the master says so for one that was killed."""
        self._counts[self._slot] = 0

    def is_turn_of_another(self, connections: int) -> bool:
        """Tell whether another process has fewer connections than this one has."""
        return any(0 < count <= connections for slot, count in enumerate(self._counts) if slot != self._slot)
