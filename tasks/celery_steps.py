"""Owns what our workers do otherwise than Celery's: come back soon to a broker that is back, and show that they work.

Named in the Celery configuration (``worker_consumer``) and added as a step of the worker (tasks/worker.py).
"""

import time
from functools import partial
from typing import Any

from celery import bootsteps
from celery.worker import state
from celery.worker.consumer import Consumer

from app.coordination import heartbeat_file
from app.coordination.heartbeat_file import HeartbeatFile

_RECONNECT_S = 1
_PULSE_S = 1.0


class SoonBack(Consumer):
    """Tries a broker that is away every second or two; Celery's own waits grow to 30 s."""

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long it takes."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=_RECONNECT_S, interval_step=_RECONNECT_S, interval_max=2
        )
        return super().ensure_connected(conn)


class ShowPulse(bootsteps.StartStopStep):
    """Writes the worker's pulse from its event loop, so that it stops when that does."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._held: dict[str, float] = {}
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        """Begin."""
        self._timer = parent.timer.call_repeatedly(_PULSE_S, self._write, (parent,))

    def stop(self, parent: Any) -> None:  # noqa: ARG002  # Celery's signature
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _write(self, parent: Any) -> None:
        now = time.monotonic()
        ids = {request.id for request in list(state.reserved_requests)}
        self._held = {request_id: self._held.get(request_id, now) for request_id in ids}
        heartbeat_file.write(
            HeartbeatFile(
                name=next(iter(parent.app.amqp.queues.consume_from), "worker"),
                taken=sum(state.total_count.values()),
                busy=len(state.active_requests),
                oldest_s=now - min(self._held.values(), default=now),
            )
        )
