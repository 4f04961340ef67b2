"""Measures that each alert fires within its time: a real Prometheus with the real rules over a real system.

`make alerts`, or `.venv/bin/python -m bench.measure.alerts`: private servers and processes, each alert's fault brought
about in turn, and before that a healthy hour. Every duration in the rules (``for``, windows, intervals) is divided by
one factor; thresholds stay, and where one is an age an event is made that old. Needs Debian's package prometheus.
"""

import argparse
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
import yaml

from app.db.engine import transaction
from app.sources import configured
from bench.harness.children import ROOT, free_port, running
from bench.harness.events import Stream
from bench.harness.inject import injector
from bench.harness.load import fire
from bench.harness.parted import parted
from bench.harness.progress import tell
from bench.harness.target import NotRunning, senders
from bench.measure.faults import FAULTS, Fault, Plant
from deploy.local.processes import wait_until

_FACTOR = 15
_RATE = 8.0
_START_S = 60.0
_HOUR_S = 3600
_POLL_S = 0.2
_SEEN_S = 2.5
"""What isn't divided: the dispatcher counts once a second, the endpoint shows what is up to a second old, we look."""
_PROMETHEUS = ROOT / "deploy" / "prometheus"
_UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(duration: str) -> int:
    """Return a duration of Prometheus' in seconds."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smh])", duration))


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules, and how long each alert may take by them."""

    folder: Path
    allowed_s: dict[str, float]
    """Compressed: its ``for``, the longest window that it looks through, and three intervals."""


def compressed(folder: Path, factor: int) -> Rules:
    """Write the rules with every duration divided."""
    recorded: dict[str, str] = {}
    allowed_s: dict[str, float] = {}
    for name in ("rules.yml", "alerts.yml"):
        document = yaml.safe_load((_PROMETHEUS / name).read_text())
        for group in document["groups"]:
            interval_s = seconds(group["interval"])
            group["interval"] = f"{max(1, interval_s // factor)}s"
            for rule in group["rules"]:
                expr = rule["expr"]
                recorded |= {rule["record"]: expr} if "record" in rule else {}
                if "alert" in rule:
                    below = " ".join([expr, *(text_ for record, text_ in recorded.items() if record in expr)])
                    windows = [seconds(found) for found in re.findall(r"\[(\w+)\]", below)]
                    own_s = seconds(rule.get("for", "0s")) + max(windows, default=0) + 3 * interval_s
                    allowed_s[rule["alert"]] = own_s / factor
                rule["expr"] = re.sub(r"\[(\w+)\]", lambda found: f"[{seconds(found[1]) // factor}s]", expr)
                if "for" in rule:
                    rule["for"] = f"{seconds(rule['for']) // factor}s"
        (folder / name).write_text(yaml.safe_dump(document))
    return Rules(folder, allowed_s)


@contextmanager
def prometheus(folder: Path, target: int, factor: int) -> Iterator[str]:
    """Run Prometheus on the rules, reading one endpoint; yields its URL.

    Raises:
        NotRunning: it isn't installed, or doesn't start.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise NotRunning("no prometheus: Debian's package prometheus has it")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml", "alerts.yml"],
        "scrape_configs": [
            {"job_name": "tiercel", "static_configs": [{"targets": [f"127.0.0.1:{target}"], "labels": {}}]}
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    # Prometheus looks back 5 minutes for a series that has gone.
    argv += [f"--query.lookback-delta={300 // factor}s", f"--web.listen-address=127.0.0.1:{port}"]
    with running([[*argv, "--log.level=error"]], lambda: _answers(f"{url}/-/ready")):
        yield url


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def firing(url: str) -> set[str]:
    """Return the names of the alerts that fire."""
    alerts = requests.get(f"{url}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


@contextmanager
def traffic(stream: Stream, host: str, port: int) -> Iterator[None]:
    """Send a little of everything all the time."""
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            fire(host, port, list(stream.requests(int(_RATE * 2))), _RATE)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one fault."""

    alert: str
    fault: str
    fired_s: float | None
    allowed_s: float


def inject(plant: Plant, url: str, rules: Rules, fault: Fault) -> list[Row]:
    """Bring a fault about and wait for its alerts; heal it afterwards."""
    tell(f"{', '.join(fault.alerts)}: {fault.words}")
    _until(lambda: not firing(url) & set(fault.alerts), 180.0)
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(fault.inject(plant))
        fired: dict[str, float] = {}
        allowed = {name: rules.allowed_s[name] + _SEEN_S + fault.real_s for name in fault.alerts}

        def all_fired() -> bool:
            now = time.monotonic() - began
            for name in (firing(url) & set(fault.alerts)) - fired.keys():
                fired[name] = now
                tell(f"{name} fires after {now:.1f} s")
            return set(fired) == set(fault.alerts)

        _until(all_fired, 2 * max(allowed.values()))
        return [Row(name, fault.words, fired.get(name), allowed[name]) for name in fault.alerts]


def _until(done: Callable[[], bool], within_s: float) -> None:
    end = time.monotonic() + within_s
    while not done() and time.monotonic() < end:
        time.sleep(_POLL_S)


def healthy(url: str, factor: int) -> set[str]:
    """Return the alerts that fire in an hour, compressed, in which nothing is wrong."""
    tell(f"a healthy hour, in {_HOUR_S / factor:g} s")
    found: set[str] = set()
    end = time.monotonic() + _HOUR_S / factor
    while time.monotonic() < end:
        found |= firing(url)
        time.sleep(_POLL_S)
    return found


def measure(only: Sequence[str], factor: int) -> tuple[list[Row], set[str]]:
    """Run all of it; return the rows and what fired in the healthy hour."""

    def faulty(line: str) -> str:
        return line.replace("tasks.worker:celery", "bench.measure.faulty:celery") if "--queues" in line else line

    with ExitStack() as stack:
        system = stack.enter_context(parted(faulty, LEASE_S="3", RETRY_BASE_S="0.2", RETRY_CAP_S="1"))
        serve = free_port()
        system.commands["metrics"] = f"tiercel metrics --serve {serve}"
        system.start("metrics")
        if not wait_until(lambda: _answers(f"http://127.0.0.1:{serve}/metrics"), _START_S):
            raise NotRunning("tiercel metrics doesn't answer")
        target = system.target()
        made, _ = stack.enter_context(senders(target, {"shop": ("standard", {}), "shed": ("standard", {})}))
        injected = stack.enter_context(injector(target))
        plant = Plant(system, target, injected, injected.add_source("faults"), made["shed"])
        with transaction(target.engine) as session:
            configured.limit(session, made["shed"].name, configured.Limit(0.01, 1))
        rules = compressed(system.home, factor)
        url = stack.enter_context(prometheus(system.home, serve, factor))
        stack.enter_context(traffic(Stream(made["shop"]), target.host, target.port))
        # Until what a start looks like is out of every window.
        time.sleep(900 / factor)
        wrong = healthy(url, factor) if not only else set()
        rows: list[Row] = []
        for fault in FAULTS:
            if not only or set(only) & set(fault.alerts):
                rows += inject(plant, url, rules, fault)
        if not only:
            missing = set(rules.allowed_s) - {row.alert for row in rows}
            rows += [Row(name, "no fault is known for it", None, rules.allowed_s[name]) for name in sorted(missing)]
        return rows, wrong


def table(rows: list[Row]) -> str:
    """Return the rows as they stand in docs/metrics.md."""
    lines = ["| alert | fault | fired after | allowed |", "|---|---|---|---|"]
    for row in rows:
        fired = "**not**" if row.fired_s is None else f"{row.fired_s:.1f} s"
        lines.append(f"| `{row.alert}` | {row.fault} | {fired} | {row.allowed_s:.1f} s |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and exit with 1 where an alert was late, missing or false."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="these alerts, without the healthy hour")
    parser.add_argument("--factor", type=int, default=_FACTOR, help="what durations are divided by (%(default)s)")
    given = parser.parse_args()
    try:
        rows, wrong = measure(given.only, given.factor)
    except NotRunning as error:
        sys.exit(str(error))
    print(table(rows))
    print(f"\nin the healthy hour fired: {', '.join(sorted(wrong)) or 'nothing'}")
    late = [row.alert for row in rows if row.fired_s is None or row.fired_s > row.allowed_s]
    if late or wrong:
        sys.exit(f"late or missing: {', '.join(late) or 'none'}")


if __name__ == "__main__":
    main()
