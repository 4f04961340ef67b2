"""Owns how spans leave a process: a bounded queue and a thread, so that an endpoint costs nobody anything.

One that is dead, slow or hangs costs spans, a line a minute in the log, and at the end of the process the time that
``close`` is given. The SDK's own queue waits up to 30 s then, and logs each failure.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Protocol

import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from app.observability.periodic import PeriodicThread
from app.observability.tracing.spans import Spans

_LOG = structlog.get_logger()
_BOUND = 2_048
"""Requests and events of workers' messages that wait; each leaves two to seven spans in a process."""
_SENT_TOGETHER = 512
_SAY_EVERY_S = 60.0


class PendingSpan(Protocol):
    """What was traced, of which spans can be made."""

    def weight(self) -> int:
        """Return how many requests or events it is of."""

    def spans(self, make: Spans) -> Iterator[ReadableSpan]:
        """Yield its spans."""


class SpanExporterThread:
    """Keeps what was traced until its spans are sent, and drops what is too many."""

    def __init__(self, exporter: SpanExporter, make: Spans, *, every_s: float) -> None:
        # What it has to say is said here, seldom enough.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = exporter
        self._make = make
        self._noted: deque[PendingSpan] = deque()
        self._waiting = 0
        self._changing = threading.Lock()
        self._lost = 0
        self._said_at = -_SAY_EVERY_S
        self._thread = PeriodicThread("traces", every_s, self._send, once_more=True)
        self._thread.start()

    def take(self, noted: PendingSpan) -> None:
        """Take something; never waits."""
        with self._changing:
            if self._waiting + noted.weight() <= _BOUND:
                self._waiting += noted.weight()
                self._noted.append(noted)
            else:
                self._lost += noted.weight()

    def close(self, within_s: float) -> None:
        """Send what is left, for so many seconds at most."""
        self._thread.stop(within_s)
        # Interrupts an exporter that waits to try again.
        self._exporter.shutdown()

    def _send(self, _since_s: float) -> None:
        while self._noted:
            batch: list[ReadableSpan] = []
            while self._noted and len(batch) < _SENT_TOGETHER:
                noted = self._noted.popleft()
                with self._changing:
                    self._waiting -= noted.weight()
                try:
                    batch += noted.spans(self._make)
                except Exception as error:  # noqa: BLE001  # a bug of ours must not end this thread, and so all traces
                    _LOG.warning("a trace can't be made", action="trace_broken", error=repr(error))
            if batch and self._exporter.export(batch) is not SpanExportResult.SUCCESS:
                self._lost += len(batch)
                break
        if self._lost and time.monotonic() >= self._said_at + _SAY_EVERY_S:
            self._said_at, lost, self._lost = time.monotonic(), self._lost, 0
            _LOG.warning("spans are lost: the endpoint doesn't take them", action="traces_lost", count=lost)
