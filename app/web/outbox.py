"""Owns the outbox: a thread that publishes committed events, so that no answer to a sender waits for the broker.

What can't be published is marked as unpublished in the database, and the dispatcher sends it later.
"""

import queue
import threading
import time
import uuid

import structlog
from sqlalchemy import Engine
from tenacity import RetryCallState, Retrying, wait_random_exponential

from app.bare import work
from app.broker import Publisher
from app.errors import TiercelError
from app.inbox import due
from app.pointers import Dispatch

_LOG = structlog.get_logger()
_BOUND = 10_000
_BATCH = 500
_BACKOFF = wait_random_exponential(multiplier=0.2, max=5)


class Outbox:
    """A bounded queue of dispatches and the thread that empties it."""

    def __init__(self, publisher: Publisher, engine: Engine) -> None:
        self._publisher = publisher
        self._engine = engine
        self._queue: queue.Queue[Dispatch | None] = queue.Queue(_BOUND)
        self._overflow: list[uuid.UUID] = []
        self._failures = 0
        self._down_until = 0.0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, dispatch: Dispatch) -> None:
        """Hand over one dispatch; never waits."""
        try:
            self._queue.put_nowait(dispatch)
        except queue.Full:
            self._overflow.append(dispatch.pointer.event_id)

    def __len__(self) -> int:
        return self._queue.qsize()

    def close(self) -> None:
        """Publish what waits and end the thread."""
        self._queue.put(None)
        self._thread.join(timeout=10)
        self._publisher.close()

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < _BATCH:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            self._publish([dispatch for dispatch in batch if dispatch is not None])
            if None in batch:
                return

    def _publish(self, batch: list[Dispatch]) -> None:
        failed = batch
        if batch and time.monotonic() >= self._down_until:
            failed = self._publisher.publish(batch)
            self._failures = self._failures + 1 if failed else 0
            if failed:
                state = RetryCallState(Retrying(), None, (), {})
                state.attempt_number = self._failures
                self._down_until = time.monotonic() + _BACKOFF(state)
                _LOG.warning("the broker didn't take pointers", action="publish_failed", count=len(failed))
        overflow, self._overflow = self._overflow, []
        ids = [*overflow, *(dispatch.pointer.event_id for dispatch in failed)]
        if not ids:
            return
        try:
            with work(self._engine) as session:
                due.unpublished(session, ids)
        except TiercelError as error:
            # The dispatcher publishes again what nobody worked on.
            _LOG.warning("unpublished events weren't marked", action="unpublished_unmarked", error=repr(error))
