"""Owns the loop: one thread that goes on with whichever request can, so that one that waits keeps no thread waiting.

Each request is a greenlet: code like any other, which gives its turn away where it waits. Between two of those places
nothing else of this thread runs, so a burst of requests costs no turn at Python's lock and no switch of the kernel's.
Whatever may take long is done elsewhere, by a thread; that is what ``elsewhere`` is for.
"""

import heapq
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from itertools import count
from queue import SimpleQueue
from typing import Protocol, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

_LOOK_S = 0.05
"""How late a wait that has run out may be noticed."""
_IDLE_S = 1.0
Found = TypeVar("Found")


class LoopEvent(Protocol):
    """What is needed of a ``threading.Event``; one waits at a time."""

    def set(self) -> None:
        """Let whoever waits go on."""

    def clear(self) -> None:
        """Forget that it was set."""

    def wait(self, timeout: float | None = None, /) -> bool:
        """Wait until it is set, so many seconds at the most; tell whether it is."""


class _Here(threading.local):
    loop: "Loop | None" = None


_here = _Here()


def event() -> LoopEvent:
    """Return an event that whoever asks can wait for: a thread, or a request of a loop."""
    return threading.Event() if _here.loop is None else _Event(_here.loop)


def let_others_first() -> None:
    """Let the requests go on, or begin, that can just now; a thread lets nobody."""
    if _here.loop is not None:
        _here.loop.let_others_first()


def afterwards(work: Callable[[], None]) -> None:
    """Do something that waits for nobody once this request has gone on; a thread does it at once."""
    if _here.loop is None:
        work()
    else:
        _here.loop.afterwards(work)


def elsewhere(work: Callable[[], Found]) -> Found:
    """Do what may wait for long, and return or raise what it does: in a thread, where this is a loop's."""
    return work() if _here.loop is None else _here.loop.elsewhere(work)


class _Event:
    """An event that one greenlet of a loop waits for; any thread may set it."""

    __slots__ = ("_loop", "_set", "until", "waiter")

    def __init__(self, loop: "Loop") -> None:
        self._loop = loop
        self._set = False
        self.waiter: greenlet | None = None
        self.until = float("inf")

    def set(self) -> None:
        """Let whoever waits go on."""
        self._set = True
        self._loop.wake(self)

    def clear(self) -> None:
        """Forget that it was set."""
        self._set = False

    def wait(self, timeout: float | None = None, /) -> bool:
        """Wait until it is set, so many seconds at the most; tell whether it is."""
        self.until = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._set and time.monotonic() < self.until:
            self._loop.park(self)
        return self._set


class Loop:
    """The requests of one thread. Its methods are that thread's, but ``wake`` and what ``jobs`` is for."""

    def __init__(self, broken: Callable[[], None]) -> None:
        self._broken = broken
        """Called where something raised that nobody caught, with that at hand; everything else goes on."""
        self.jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        """What threads are to do; whoever has a loop starts them."""
        self._wakened = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._told = False
        self._turned = True
        self._ready: deque[_Event] = deque()
        self._behind: deque[greenlet] = deque()
        self._parked: set[_Event] = set()
        self._looked_at = 0.0
        self._afterwards: list[Callable[[], None]] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def enter(self) -> None:
        """Be this thread's loop from now on."""
        _here.loop = self
        self._ident = threading.get_ident()
        self._hub = getcurrent()

    def fileno(self) -> int:
        """Return what becomes readable where another thread has something for this one."""
        return self._wakened

    def begin(self, work: Callable[[], None]) -> None:
        """Do something that may wait; returns when it waits, or is done."""
        greenlet(self._guard).switch(work)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do something that waits for nothing, in so many seconds."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), work))

    def pause_s(self) -> float:
        """Return how long to wait for something new, at the most."""
        if self._ready or self._behind:
            return 0.0
        at_most = _LOOK_S if self._parked else _IDLE_S
        return max(0.0, min(at_most, self._timers[0][0] - time.monotonic())) if self._timers else at_most

    def heard(self) -> None:
        """Take note that ``fileno`` is readable."""
        os.eventfd_read(self._wakened)
        # Not before: who wakes in between would be taken for told, and nobody told again.
        self._told = False

    def has_turned(self) -> bool:
        """Tell whether it has gone on since this was last asked."""
        turned, self._turned = self._turned, False
        return turned

    def go_on(self) -> None:
        """Go on with everything that can."""
        self._turned = True
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            self._guard(heapq.heappop(self._timers)[2])
        if self._parked and now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            self._ready.extend(waits for waits in self._parked if waits.until <= now)
        self._go_on_with_ready()
        for _ in range(len(self._behind)):
            self._behind.popleft().switch()
            self._go_on_with_ready()
        afterwards, self._afterwards = self._afterwards, []
        for work in afterwards:
            self._guard(work)

    def wake(self, waits: _Event) -> None:
        """Let whoever waits for an event go on soon."""
        self._ready.append(waits)
        if threading.get_ident() != self._ident and not self._told:
            self._told = True
            os.eventfd_write(self._wakened, 1)

    def park(self, waits: _Event) -> None:
        """Let others go on until somebody wakes this one; that may be for nothing."""
        waits.waiter = getcurrent()
        self._parked.add(waits)
        self._hub.switch()

    def let_others_first(self) -> None:
        """Let everything go on that can just now."""
        self._behind.append(getcurrent())
        self._hub.switch()

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do something that waits for nothing, once those have gone on that can."""
        self._afterwards.append(work)

    def elsewhere(self, work: Callable[[], Found]) -> Found:
        """Let a thread do something, and return or raise what it does."""
        done = _Event(self)
        found: list[Found] = []
        raised: list[BaseException] = []

        def run() -> None:
            try:
                found.append(work())
            except BaseException as error:  # noqa: BLE001  # it is raised where it was asked for
                raised.append(error)
            finally:
                done.set()

        context = copy_context()
        self.jobs.put(lambda: context.run(run))
        done.wait()
        if raised:
            raise raised[0]
        return found[0]

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except GreenletExit:  # its loop is gone
            raise
        except BaseException:  # noqa: BLE001  # nothing that one request does may end the others
            self._broken()

    def _go_on_with_ready(self) -> None:
        while self._ready:
            waits = self._ready.popleft()
            waiter, waits.waiter = waits.waiter, None
            if waiter is not None:
                self._parked.discard(waits)
                waiter.switch()
