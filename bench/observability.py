"""Measures what it costs to be seen: processor time per event without metrics and traces, and with both.

`.venv/bin/python -m bench.observability`: over private servers the receiver, the workers and the dispatcher are
started anew for each run, by turns with neither and with both: metrics scraped every 15 s as in docker-compose.yml,
one trace in ten sent to a collector. Each run sends the same events at the same rate; what counts is the processor
time of those processes, divided by the events.
"""

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from sqlalchemy import text

from bench.events import Stream
from bench.load import fire
from bench.parted import OURS, Parted, parted
from bench.progress import tell
from bench.system import settle
from bench.target import NotRunning, Target, senders

_SCRAPE_S = 15.0
_WARM = 400
_SETTLE_S = 120.0
_AT_MOST = 1.05
_LEFT = text("SELECT count(*) FROM event WHERE status < 2")


class _Sink(BaseHTTPRequestHandler):
    """A collector that reads what it is sent and keeps nothing."""

    protocol_version = "HTTP/1.1"
    received = 0

    def do_POST(self) -> None:
        _Sink.received += len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def sink() -> Iterator[str]:
    """Run a collector; yields its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@contextmanager
def scraping(url: str) -> Iterator[None]:
    """Read the metrics as Prometheus would."""
    stop = threading.Event()

    def scrape() -> None:
        while not stop.wait(_SCRAPE_S):
            requests.get(f"{url}/metrics", timeout=10)

    thread = threading.Thread(target=scrape, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(15)


def per_event_us(system: Parted, count: int, rate: float, *, seen: str) -> float:
    """Return the processor time that an event costs, in µs; ``seen`` is the collector's URL, empty with neither."""
    more = {"METRICS": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": seen} if seen else {"METRICS": "false"}
    system.start(*OURS, **more)
    with ExitStack() as stack:
        stack.callback(system.stop, *OURS)
        target = system.target()
        made, _ = stack.enter_context(senders(target, {"cost": ("standard", {})}))
        stream = Stream(made["cost"])
        if seen:
            stack.enter_context(scraping(target.url))
        _send(target, stream, _WARM, rate)
        before = system.cpu_s(OURS)
        _send(target, stream, count, rate)
        return (system.cpu_s(OURS) - before) / count * 1e6


def _send(target: Target, stream: Stream, count: int, rate: float) -> None:
    shots = fire(target.host, target.port, list(stream.requests(count)), rate)
    refused = sum(shot.status != 202 for shot in shots)
    if refused:
        raise NotRunning(f"{refused} of {count} events were refused")

    def behind() -> int:
        with target.engine.connect() as connection:
            return int(connection.execute(_LEFT).scalar_one())

    settle(behind, _SETTLE_S, "do the workers run?")
    # Spans are sent every 5 s.
    time.sleep(5.5)


def measure(pairs: int, count: int, rate: float) -> list[tuple[float, float]]:
    """Return each pair: the cost with neither and with both, in µs an event."""
    found = []
    with sink() as url, parted(names=()) as system:
        for number in range(pairs):
            cost: dict[str, float] = {}
            for seen in ("", url) if number % 2 else (url, ""):
                cost[seen] = per_event_us(system, count, rate, seen=seen)
            found.append((cost[""], cost[url]))
            without, both = found[-1]
            tell(f"pair {number + 1}: {without:,.0f} µs with neither, {both:,.0f} µs with both: {both / without:.3f}")
    if not _Sink.received:
        raise NotRunning("no trace came")
    return found


def main() -> None:
    """Measure, print the medians, and exit with 1 where it costs more than 5 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--count", type=int, default=4_000, help="events of a run (%(default)s)")
    parser.add_argument("--rate", type=float, default=200.0, help="events a second (%(default)s)")
    given = parser.parse_args()
    try:
        found = measure(given.pairs, given.count, given.rate)
    except NotRunning as error:
        sys.exit(str(error))
    ratios = [both / without for without, both in found]
    middle = statistics.median(ratios)
    without, both = (statistics.median(values) for values in zip(*found, strict=True))
    print(f"processor time an event, medians of {len(found)} pairs: {without:,.0f} and {both:,.0f} µs")
    print(f"both ÷ neither: median {middle:.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
    if middle > _AT_MOST:
        sys.exit(f"more than {_AT_MOST - 1:.0%}")


if __name__ == "__main__":
    main()
