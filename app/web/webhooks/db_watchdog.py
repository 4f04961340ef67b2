"""Owns the watchdog: it cuts a connection whose server doesn't answer in time, and so frees whoever waits for it.

A frozen server keeps its sockets open, and the driver's calls have no time-out of their own.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from app.observability.periodic import PeriodicThread

_TICK_S = 0.1
"""Each tick is a thread that wants Python's lock: as dear as half a request on a busy machine."""


class Watchdog:
    """Watches connections, from one thread of its own."""

    def __init__(self) -> None:
        self._watched: dict[object, tuple[int, float]] = {}
        """By whoever is through: a connection that broke has given its number up already, perhaps to another."""
        self._lock = threading.Lock()
        self._thread = PeriodicThread("watchdog", _TICK_S, self._look)
        self._thread.start()

    @contextmanager
    def watching(self, fileno: int, until: float) -> Iterator[None]:
        """Cut this connection if the body isn't through by then (monotonic seconds)."""
        turn = object()
        with self._lock:
            self._watched[turn] = (fileno, until)
        try:
            yield
        finally:
            # Under the lock, so that nobody cuts what is no longer ours.
            with self._lock:
                self._watched.pop(turn, None)

    def close(self) -> None:
        """End the thread."""
        self._thread.stop()

    def _look(self, _since_s: float) -> None:
        with self._lock:
            now = time.monotonic()
            for turn in [turn for turn, (_, until) in self._watched.items() if now >= until]:
                fileno, _ = self._watched.pop(turn)
                _cut(fileno)


def _cut(fileno: int) -> None:
    with suppress(OSError), socket.socket(fileno=os.dup(fileno)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
