"""Owns the measurement of what it costs to be seen: processor time an event without metrics and traces, and with both.

`.venv/bin/python -m bench.measure.observability`: two systems, each over private servers of its own, take the same
events at the same rate at the same time, one with neither and one with both: metrics scraped every 15 s, as
docker-compose.yml does, and one trace in ten sent to a collector. So whatever the machine does to one it does to the
other. For the next pair both are restarted and swap places. What counts is the processor time of
receiver, workers and dispatcher, divided by the events.
"""

import argparse
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

import requests
from sqlalchemy import text

from app.models import Status
from bench.harness.children import free_port
from bench.harness.events import Stream
from bench.harness.load import fire
from bench.harness.parted import OURS, Parted, parted
from bench.harness.progress import tell
from bench.harness.system import settle
from bench.harness.target import NotRunning, Target, senders

_SCRAPE_S = 15.0
_WARM = 400
_SETTLE_S = 120.0
_AT_MOST = 1.05
_TOGETHER_S = 180.0
"""How long one side waits for the other to be ready."""
_LEFT = text(f"SELECT count(*) FROM event WHERE status < {Status.COMPLETED:d}")


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


@dataclass(frozen=True, slots=True)
class Run:
    """What both sides of a pair do."""

    count: int
    rate: float
    metrics: bool = True
    traces: bool = True


def per_event_us(system: Parted, run: Run, both_ready: Barrier, *, seen: str) -> float:
    """Return the processor time that an event costs, in µs; ``seen`` is the collector's URL, empty with neither."""
    scraped = bool(seen) and run.metrics
    more = {"METRICS": str(scraped).lower(), "OTEL_EXPORTER_OTLP_ENDPOINT": seen if run.traces else ""}
    system.start(*OURS, **more)
    with ExitStack() as stack:
        stack.callback(system.stop, *OURS)
        target = system.target()
        made, _ = stack.enter_context(senders(target, {"cost": ("standard", {})}))
        stream = Stream(made["cost"])
        if scraped:
            stack.enter_context(scraping(target.url))
        _send(target, stream, _WARM, run.rate)
        both_ready.wait(_TOGETHER_S)
        before = system.cpu_s(OURS)
        _send(target, stream, run.count, run.rate)
        cost_us = (system.cpu_s(OURS) - before) / run.count * 1e6
        both_ready.wait(_TOGETHER_S)
        return cost_us


def _side(pipe: Connection, run: Run, both_ready: Barrier, port: int) -> None:
    """Measure on a system of its own whatever the pipe asks for, until it is closed."""
    with suppress(BrokenPipeError), parted(names=(), PORT=str(port)) as system:
        pipe.send(None)
        while True:
            try:
                seen: str = pipe.recv()
            except EOFError:
                return
            try:
                pipe.send(per_event_us(system, run, both_ready, seen=seen))
            except (NotRunning, threading.BrokenBarrierError) as error:
                both_ready.abort()
                pipe.send(error)


@contextmanager
def sides(run: Run) -> Iterator[list[Connection]]:
    """Start both systems; yields a pipe to each."""
    fresh = multiprocessing.get_context("spawn")
    both_ready = fresh.Barrier(2)
    pipes = [fresh.Pipe() for _ in range(2)]
    # Nobody listens there before the first run: each would find the same one free.
    ports = [first := free_port(), free_port(first)]
    started = [
        fresh.Process(target=_side, args=(theirs, run, both_ready, port))
        for (_, theirs), port in zip(pipes, ports, strict=True)
    ]
    # One after the other, for the servers' ports alike.
    for process, (ours, theirs) in zip(started, pipes, strict=True):
        process.start()
        theirs.close()
        _answer(ours)
    try:
        yield [ours for ours, _ in pipes]
    finally:
        for ours, _ in pipes:
            ours.close()
        for process in started:
            process.join()


def _answer(pipe: Connection) -> float:
    try:
        answer = pipe.recv()
    except EOFError:
        raise NotRunning("a side has ended") from None
    if isinstance(answer, Exception):
        raise NotRunning(str(answer) or "the other side failed") from answer
    return float(answer or 0)


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


def measure(pairs: int, run: Run) -> list[tuple[float, float]]:
    """Return each pair: the cost with neither and with both, in µs an event.

    Raises:
        NotRunning: a system didn't come up, or refused an event.
    """
    found = []
    words = "both" if run.metrics and run.traces else "metrics" if run.metrics else "traces"
    with sink() as url, sides(run) as pipes:
        for number in range(pairs):
            asked = ("", url) if number % 2 else (url, "")
            for pipe, seen in zip(pipes, asked, strict=True):
                pipe.send(seen)
            cost = dict(zip(asked, [_answer(pipe) for pipe in pipes], strict=True))
            found.append((cost[""], cost[url]))
            without, both = found[-1]
            tell(
                f"pair {number + 1}: {without:,.0f} µs with neither, {both:,.0f} µs with {words}: {both / without:.3f}"
            )
    if run.traces and not _Sink.received:
        raise NotRunning("no trace came")
    return found


def main() -> None:
    """Measure, print the medians, and exit with 1 where it costs more than 5 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--count", type=int, default=3_000, help="events of a run (%(default)s)")
    parser.add_argument("--rate", type=float, default=75.0, help="events a second, on each side (%(default)s)")
    parser.add_argument("--only", choices=("metrics", "traces"), help="one of them, in place of both")
    given = parser.parse_args()
    run = Run(given.count, given.rate, metrics=given.only != "traces", traces=given.only != "metrics")
    try:
        found = measure(given.pairs, run)
    except NotRunning as error:
        sys.exit(str(error))
    ratios = [both / without for without, both in found]
    middle = statistics.median(ratios)
    without, both = (statistics.median(values) for values in zip(*found, strict=True))
    print(f"processor time an event, medians of {len(found)} pairs: {without:,.0f} and {both:,.0f} µs")
    print(f"{given.only or 'both'} ÷ neither: median {middle:.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
    if middle > _AT_MOST:
        sys.exit(f"more than {_AT_MOST - 1:.0%}")


if __name__ == "__main__":
    main()
