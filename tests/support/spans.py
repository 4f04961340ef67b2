"""Owns a collector as traces see it: OTLP over HTTP, in protobuf; it keeps what it was sent."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.waiting import wait_until


@dataclass(frozen=True)
class Seen:
    """One span."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    """As trace/span."""
    attributes: dict[str, Any]
    failed: str
    began: int
    ended: int


@dataclass
class Collector:
    """A running collector."""

    url: str = ""
    spans: list[Seen] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def of(self, trace: str) -> list[Seen]:
        """Return a trace's spans."""
        return [span for span in self.spans if span.trace == trace]

    def event(self, event_id: str) -> list[Seen]:
        """Return the trace of an event, empty where it isn't there yet."""
        named = (span for span in self.spans if span.attributes.get("tiercel.event_id") == event_id)
        found = next(named, None)
        return [] if found is None else self.of(found.trace)

    def wait(self, event_id: str, wanted: dict[str, int]) -> dict[str, list[Seen]]:
        """Return an event's spans by name, once there are so many of each."""
        wait_until(lambda: Counter(span.name for span in self.event(event_id)) >= Counter(wanted))
        by_name: dict[str, list[Seen]] = {}
        for span in sorted(self.event(event_id), key=lambda span: span.began):
            by_name.setdefault(span.name, []).append(span)
        return by_name

    def take(self, body: bytes) -> None:
        """Read one request."""
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            for scope in resource.scope_spans:
                self.spans += [_seen(service, span) for span in scope.spans]


def _seen(service: str, span: Any) -> Seen:
    return Seen(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        tuple(f"{link.trace_id.hex()}/{link.span_id.hex()}" for link in span.links),
        {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes},
        span.status.message,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )


@contextmanager
def collector(take: Callable[[Collector, bytes], None] = Collector.take) -> Iterator[Collector]:
    """Run a collector; ``take`` is what it does with each request."""
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            take(found, body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
