"""Owns the group commit: requests that arrive while one commit runs share the next. No timer, so no added wait.

One of the requests does the commit for all, where it runs itself (in the loop, mostly): each switch to another thread
costs as much as the statement, and on a busy machine far more. While the database is in trouble a thread of its own
does it instead, and no request waits longer than the time-out, whatever that thread waits for.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from app.errors import Permanent, TiercelError, Unavailable
from app.inbox.prepare import NewEvent
from app.inbox.store import Stored
from app.observability import tracing
from app.web.server import loop

_GROUP = 100
_WAITING_AT_MOST = 2_000
_ANOTHER_TRY_S = 0.1
"""With less time left a request isn't handed over to the thread."""

StoreGroup = Callable[[Sequence[NewEvent], float], list[Stored]]
"""Stores events in one transaction, until a monotonic time at the latest; what is late raises Unavailable."""


@dataclass(slots=True)
class _Item:
    """One request's events."""

    events: Sequence[NewEvent]
    until: float
    awake: loop.LoopEvent = field(default_factory=loop.event)
    leads: bool = False
    """It is this request's turn to do the commit."""
    stored: Sequence[Stored] | None = None
    error: TiercelError | None = None

    def ended(self) -> bool:
        return self.stored is not None or self.error is not None


class GroupCommit:
    """Stores events for many requests with one commit at a time."""

    def __init__(self, store_group: StoreGroup, afterwards: Callable[[], None], *, timeout_s: float) -> None:
        self._store_group = store_group
        self._afterwards = afterwards
        """Done by whoever has committed, once those who wait for it know."""
        self._timeout_s = timeout_s
        self._waiting: list[_Item] = []
        self._changed = threading.Condition()
        self._leading = False
        """A request commits now, or was told to."""
        self._trusted = False
        """The last commit went well, so a request's own thread may do the next."""
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    @tracing.stepped("store")
    def store(self, events: Sequence[NewEvent]) -> Sequence[Stored]:
        """Store a request's events, all of them or none, and return once they are committed.

        Raises:
            Unavailable: the commit isn't known to be done within the time-out. It may still happen: a sender that
                tries again is told DUPLICATE then.
            TiercelError: the database refused one of these events.
        """
        item = _Item(events, time.monotonic() + self._timeout_s)
        with self._changed:
            if self._closed or len(self._waiting) >= _WAITING_AT_MOST:
                raise Unavailable("too many requests wait for the database")
            self._waiting.append(item)
            if self._trusted and not self._leading:
                self._leading = item.leads = True
            elif not self._trusted:
                self._changed.notify()
        self._await(item)
        if item.error is not None:
            raise item.error
        assert item.stored is not None  # noqa: S101  # ended without an error
        return item.stored

    def close(self) -> None:
        """Finish what waits and end the thread."""
        with self._changed:
            self._closed = True
            self._trusted = False
            self._changed.notify()
        self._thread.join(timeout=5)

    def _await(self, item: _Item) -> None:
        """Wait until a request has ended, and commit where it is its turn."""
        while not item.ended():
            if not item.leads:
                item.awake.wait(max(item.until - time.monotonic(), 0))
            else:
                loop.let_others_first()
            with self._changed:
                item.awake.clear()
                if item.leads:
                    item.leads = False
                    group = self._take()
                elif item.ended():
                    return
                elif time.monotonic() >= item.until:
                    # From here on nobody commits it, unless somebody is just doing so.
                    self._waiting = [other for other in self._waiting if other is not item]
                    raise Unavailable("the database didn't answer in time")
                else:
                    continue
            self._lead(group, item.until)

    def _lead(self, group: Sequence[_Item], until: float) -> None:
        """Commit a group in a request's thread, and pass the lead on."""
        in_trouble = not self._commit(group, until)
        with self._changed:
            self._leading = False
            if in_trouble:
                self._trusted = False
                late = time.monotonic() + _ANOTHER_TRY_S
                again = [item for item in group if not item.ended() and item.until > late]
                for item in group:
                    if item not in again:
                        _end(item, Unavailable("the database didn't answer in time"))
                self._waiting = again + self._waiting
            self._pass_on()
        if len(group) > 1:
            self._afterwards()
        else:
            # Whoever is alone needn't wait for it.
            loop.afterwards(self._afterwards)

    def _run(self) -> None:
        """Commit while requests may not: at the start, in trouble, at the end."""
        while True:
            with self._changed:
                while self._trusted or self._leading or not self._waiting:
                    if self._closed and not self._waiting and not self._leading:
                        return
                    self._changed.wait()
                group = self._take()
            well = self._commit(group, max(item.until for item in group))
            for item in group:
                if not item.ended():
                    _end(item, Unavailable("the database didn't answer in time"))
            with self._changed:
                self._trusted = well and not self._closed
                if self._trusted:
                    self._pass_on()
            self._afterwards()

    def _take(self) -> list[_Item]:
        # By events, so that batches don't add up to a statement that nobody has time for; the first goes in any case.
        sizes = accumulate(len(item.events) for item in self._waiting)
        take = max(1, sum(size <= _GROUP for size in sizes))
        group, self._waiting = self._waiting[:take], self._waiting[take:]
        return group

    def _pass_on(self) -> None:
        """Give the lead to the request with the most time left, or to the thread where none has enough."""
        if not self._waiting:
            return
        newest = self._waiting[-1]
        if self._trusted and newest.until > time.monotonic() + _ANOTHER_TRY_S:
            self._leading = newest.leads = True
            newest.awake.set()
        else:
            self._trusted = False
            self._changed.notify()

    def _commit(self, items: Sequence[_Item], until: float) -> bool:
        """Commit items together, or each alone where that fails; tell whether the database served at all."""
        if not items:
            return True
        try:
            stored = iter(self._store_group([event for item in items for event in item.events], until))
        except Unavailable:
            return False
        except Exception as caught:  # noqa: BLE001  # a commit for many must outlive whatever one event does to it
            error = caught if isinstance(caught, TiercelError) else Permanent(f"{type(caught).__name__}: {caught}")
            if len(items) > 1:
                # One bad event harms only itself.
                each = [time.monotonic() < until and self._commit([item], until) for item in items]
                return all(each)
            _end(items[0], error)
        else:
            for item in items:
                item.stored = [next(stored) for _ in item.events]
                item.awake.set()
        return True


def _end(item: _Item, error: TiercelError) -> None:
    if not item.ended():
        item.error = error
        item.awake.set()
