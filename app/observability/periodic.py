"""A thread that does one thing again and again, for as long as it is wanted and whatever the thing raises."""

import threading
import time
from collections.abc import Callable

import structlog

_LOG = structlog.get_logger()
_SAY_EVERY_S = 60.0


class PeriodicThread:
    """Calls ``do(seconds since it was called last)`` every so many seconds, from its start until it is stopped.

    It is a daemon thread, so it never delays the exit of its process. An exception from ``do`` is logged, at most once
    a minute, and the thread goes on: otherwise whoever relies on it would never learn that it had ended.
    ``once_more``: call ``do`` a last time when the thread is stopped.
    """

    def __init__(self, name: str, every_s: float, do: Callable[[float], None], *, once_more: bool = False) -> None:
        self._name, self._every_s, self._do, self._once_more = name, every_s, do, once_more
        self._stopped = threading.Event()
        self._said_at = -_SAY_EVERY_S
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start it; it is called first when the time is up."""
        self._thread.start()

    def stop(self, within_s: float = 5.0) -> None:
        """End it, and wait for what it does just now, for so many seconds at most. A second time does nothing."""
        self._stopped.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        before = time.monotonic()
        while not self._stopped.wait(self._every_s):
            now = time.monotonic()
            self._call(now, now - before)
            before = now
        if self._once_more:
            now = time.monotonic()
            self._call(now, now - before)

    def _call(self, now: float, since_s: float) -> None:
        try:
            self._do(since_s)
        except Exception as error:  # noqa: BLE001  # see the class
            if now >= self._said_at + _SAY_EVERY_S:
                self._said_at = now
                _LOG.exception("periodic work failed", action="periodic_broken", name=self._name, error=repr(error))
