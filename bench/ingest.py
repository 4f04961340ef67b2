"""Owns ``make bench`` part 2: how many signed events a second the receiver takes, beside a no-op Flask route.

Both are served by the same gunicorn with the same settings and driven by the same clients in turn, so that their
ratio says something on any machine. The workers are paused meanwhile: this measures the door alone.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import psutil
from rich.console import Console
from rich.table import Table

from bench.latency import MIX, event_body
from bench.load import request_bytes, saturate
from bench.target import NotRunning, Sender, find_target, senders
from config.settings import tiercel_home
from deploy.local.ports import RANGE, is_free

CONNECTIONS = 64


def main() -> int:
    """Measure both in turn, show the medians, and return the exit status: 1 where something wasn't accepted."""
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of both (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each round lasts (%(default)g)")
    words = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 100)
    rates: dict[str, list[float]] = {"no-op Flask route": [], "receiver": []}
    cost_ms: dict[str, list[float]] = {"no-op Flask route": [], "receiver": []}
    refused = 0
    try:
        target = find_target()
        with senders(target, {"ingest": ("standard", {})}) as (made, _), _noop() as (noop, port), _paused():
            web = _web()
            for number in range(words.rounds):
                requests = _requests(made["ingest"], number, round(8_000 * words.seconds))
                for name, process, at in (("no-op Flask route", noop, port), ("receiver", web, target.port)):
                    before = _cpu_s(process)
                    count, wrong, took_s = saturate(target.host, at, requests, words.seconds, CONNECTIONS)
                    rates[name].append(count / took_s)
                    cost_ms[name].append((_cpu_s(process) - before) / max(count, 1) * 1000)
                    refused += wrong
    except NotRunning as error:
        Console(stderr=True, soft_wrap=True).print(f"bench: {error}", highlight=False, markup=False)
        return 1
    table = Table(box=None, pad_edge=False)
    for column in ("", "requests/s", "lowest", "highest", "CPU of the receiver, ms a request"):
        table.add_column(column, justify="right" if column else "left")
    for name, values in rates.items():
        numbers = (statistics.median(values), min(values), max(values))
        table.add_row(name, *(f"{value:,.0f}" for value in numbers), f"{statistics.median(cost_ms[name]):.2f}")
    console.print(table)
    ratios = [ours / noop for noop, ours in zip(*rates.values(), strict=True)]
    console.print(f"ratio, median of {words.rounds} rounds: {statistics.median(ratios):.2f}", highlight=False)
    if refused:
        console.print(f"[red]{refused} requests were not accepted[/red]", highlight=False)
    return 1 if refused else 0


def _requests(sender: Sender, number: int, count: int) -> list[bytes]:
    dice, made = Random(number), []
    for place, event_type in enumerate(dice.choices(list(MIX), list(MIX.values()), k=count)):
        data = {"id": f"{number}-{place}", "amount": "19.90", "currency": "EUR", "name": "ingest", "n": place}
        body = event_body(event_type, time.time(), data)
        headers = sender.sign(f"ingest-{number}-{place}", event_type, body, time.time())
        made.append(request_bytes(f"/webhooks/{sender.name}", body, {"Content-Type": "application/json", **headers}))
    return made


@contextmanager
def _noop() -> Iterator[tuple[psutil.Process, int]]:
    port = next(port for port in RANGE if is_free(port))
    command = [
        str(Path(sys.executable).with_name("gunicorn")),
        "--config",
        "config/gunicorn.py",
        "bench.noop:flask_app",
    ]
    process = subprocess.Popen(command, env={**os.environ, "PORT": str(port)})  # noqa: S603  # our own command
    try:
        time.sleep(2)
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _paused() -> Iterator[None]:
    workers = [process for process in _ours() if "worker" in process.cmdline()]
    for process in workers:
        process.suspend()
    try:
        yield
    finally:
        for process in workers:
            process.resume()


def _web() -> psutil.Process:
    return next(process for process in _ours() if "app.wsgi:flask_app" in process.cmdline())


def _ours() -> Iterator[psutil.Process]:
    """Yield the processes of the system that is measured, parents first."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("TIERCEL_HOME", "") == str(tiercel_home()):
                yield process
        except psutil.Error:
            continue


def _cpu_s(process: psutil.Process) -> float:
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


if __name__ == "__main__":
    sys.exit(main())
