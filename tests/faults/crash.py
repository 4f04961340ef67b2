"""Owns crash points: a process kills itself at an exact place, once for each file that a fault has put down.

Only in the entry modules of this folder; the product has no such points.
"""

import os
import signal
from contextlib import suppress
from enum import Enum
from pathlib import Path

from config.settings import tiercel_home


class Point(Enum):
    """Where a process dies."""

    AFTER_STORE = "after-store"
    """The receiver: the event is committed, its sender not answered, its pointer perhaps not published."""
    AFTER_CLAIM = "after-claim"
    """A worker: the attempt is committed, the work is under way."""
    BEFORE_ACK = "before-ack"
    """A worker: the outcome is committed, the message not acknowledged."""


def arm(home: Path, point: Point, count: int) -> None:
    """Let the next ``count`` processes that come to a point die there."""
    (home / "crash").mkdir(exist_ok=True)
    for number in range(count):
        (home / "crash" / f"{point.value}-{number}").touch()


def left(home: Path, point: Point) -> int:
    """Return how many of them haven't died yet."""
    return len(list((home / "crash").glob(f"{point.value}-*")))


def here(point: Point) -> None:
    """Die here, if a file says so; each file kills one process."""
    for path in (tiercel_home() / "crash").glob(f"{point.value}-*"):
        with suppress(FileNotFoundError):
            path.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
