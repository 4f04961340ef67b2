"""Owns the group commit: requests that arrive while one commit runs share the next. No timer, so no added wait.

A thread of its own does the commits: a request waits for it only so long, whatever the database does.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.errors import Permanent, TiercelError, Unavailable
from app.inbox.store import NewEvent, Stored

_GROUP = 100
_WAITING_AT_MOST = 2_000

StoreGroup = Callable[[Sequence[NewEvent]], list[Stored]]


@dataclass(slots=True)
class _Item:
    event: NewEvent
    done: threading.Event = field(default_factory=threading.Event)
    stored: Stored | None = None
    error: TiercelError | None = None
    abandoned: bool = False


class GroupCommit:
    """Stores events for many request threads with one commit at a time."""

    def __init__(self, store_group: StoreGroup, *, timeout_s: float) -> None:
        self._store_group = store_group
        self._timeout_s = timeout_s
        self._waiting: list[_Item] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def store(self, event: NewEvent) -> Stored:
        """Store one event and return once it is committed.

        Raises:
            Unavailable: the commit isn't known to be done within the time-out. It may still happen: a sender that
                tries again is told DUPLICATE then.
            TiercelError: the database refused this event.
        """
        item = _Item(event)
        with self._changed:
            if self._closed or len(self._waiting) >= _WAITING_AT_MOST:
                raise Unavailable("too many requests wait for the database")
            self._waiting.append(item)
            self._changed.notify()
        if not item.done.wait(self._timeout_s):
            item.abandoned = True
            raise Unavailable("the database didn't answer in time")
        if item.error is not None:
            raise item.error
        assert item.stored is not None  # noqa: S101  # done without an error
        return item.stored

    def close(self) -> None:
        """Finish what waits and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
            self._commit([item for item in group if not item.abandoned])

    def _commit(self, items: list[_Item]) -> None:
        if not items:
            return
        try:
            stored = self._store_group([item.event for item in items])
        except Exception as caught:  # noqa: BLE001  # this thread must outlive whatever one event does to it
            error = caught if isinstance(caught, TiercelError) else Permanent(f"{type(caught).__name__}: {caught}")
            if len(items) > 1 and not isinstance(error, Unavailable):
                # One bad event harms only itself.
                for item in items:
                    self._commit([item])
                return
            for item in items:
                item.error = error
        else:
            for item, answer in zip(items, stored, strict=True):
                item.stored = answer
        for item in items:
            item.done.set()
