"""Owns the outbox: committed events' pointers, published so that no answer to a sender waits for the broker.

Whoever has committed sends them, which waits for nobody; their confirms are read now and then. What can't be sent at
once, or isn't confirmed, is published by a thread. What it can't publish is marked as unpublished in the database, and
the dispatcher sends it later.
"""

import threading
import time
import uuid
from collections import deque
from contextlib import suppress

import structlog
from sqlalchemy import Engine
from tenacity import RetryCallState, Retrying, wait_random_exponential

from app.db.pipeline import pipelined_transaction
from app.errors import TiercelError
from app.inbox import due
from app.messaging.pointer import Dispatch
from app.messaging.publisher import Publisher

_LOG = structlog.get_logger()
_BOUND = 10_000
_BATCH = 500
_LOOK_EVERY_S = 0.05
_END_S = 3.0
_BACKOFF = wait_random_exponential(multiplier=0.2, max=5)


class Outbox:
    """A bounded queue of dispatches, which whoever filled it empties, and a thread that does where that would wait."""

    def __init__(self, publisher: Publisher, engine: Engine) -> None:
        self._publisher = publisher
        self._engine = engine
        self._waiting: deque[Dispatch] = deque()
        self._overflow: list[uuid.UUID] = []
        self._publishing = threading.Lock()
        """Held by whoever uses the publisher."""
        self._failures = 0
        self._down_until = 0.0
        self._stuck = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, dispatch: Dispatch) -> None:
        """Hand over one dispatch; never waits."""
        if len(self._waiting) < _BOUND:
            self._waiting.append(dispatch)
        else:
            self._overflow.append(dispatch.pointer.event_id)

    def send(self) -> None:
        """Send what waits, where that waits for nobody; what is left is the thread's.

        Where another is just sending it is left to that one, who looks once more when it is done.
        """
        while self._waiting and not self._stuck.is_set() and self._publishing.acquire(blocking=False):
            batch = self._take()
            try:
                left = self._publisher.offer(batch)
            except Exception as error:  # noqa: BLE001  # these are committed: whatever it is, no answer may fail for it
                _LOG.exception("pointers can't be sent", action="outbox_broken", error=repr(error))
                left = batch
            finally:
                self._publishing.release()
            self._waiting.extendleft(reversed(left))
            if left:
                self._stuck.set()

    def __len__(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        """Publish what waits and end the thread."""
        self._closing = True
        self._stuck.set()
        self._thread.join(timeout=10)
        self._publisher.close()

    def _take(self) -> list[Dispatch]:
        batch: list[Dispatch] = []
        with suppress(IndexError):
            while len(batch) < _BATCH:
                batch.append(self._waiting.popleft())
        return batch

    def _run(self) -> None:
        while not self._closing or self._waiting:
            self._stuck.wait(_LOOK_EVERY_S)
            with self._publishing:
                self._publish_all()
                if not self._waiting and not self._closing:
                    self._stuck.clear()
            self.send()  # what somebody left to this thread meanwhile
        with self._publishing:
            self._publish_all(_END_S)

    def _publish_all(self, confirms_s: float = 0.0) -> None:
        """Publish what waits, and again what of the former is unconfirmed."""
        batch = self._take()
        try:
            self._publish([*self._publisher.confirms(confirms_s), *batch])
        except Exception as error:  # noqa: BLE001  # without this thread nothing would be published any more
            # The dispatcher publishes again what nobody worked on.
            _LOG.exception("pointers can't be published", action="outbox_broken", error=repr(error))
            self._publisher.give_up()

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
            with pipelined_transaction(self._engine) as session:
                due.unpublished(session, ids)
        except TiercelError as error:
            # The dispatcher publishes again what nobody worked on.
            _LOG.warning("unpublished events weren't marked", action="unpublished_unmarked", error=repr(error))
