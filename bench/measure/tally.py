"""Measures that every outcome counter is the truth: 20,000 events with known outcomes, two processes killed meanwhile.

`.venv/bin/python -m bench.measure.tally`: private servers, 2 gunicorn and 4 worker processes. On the way one of
gunicorn's is killed, and one of the workers'; their parents start them again. Then the plan, the event table and the
counters must say the same, and what a killed process counted for itself may lack at most what was in its hands.
"""

import argparse
import json
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import psutil
import requests
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from app.models import Outcome, Status
from bench.harness.load import THREADS, Shot, fire, request_bytes
from bench.harness.parted import Parted, parted
from bench.harness.progress import tell
from bench.harness.system import settle
from bench.harness.target import NotRunning, Sender, Target, senders
from bench.measure.faults import DEAD

_RATE = 300.0
_SETTLE_S = 300.0
_AGREE_S = 20.0
_NO_ANSWER = 0
_HIGH, _MEDIUM, _LOW = "price.updated", "segment.updated", "log.recorded"
_ROUTE = "/webhooks/<name>"
_LEFT = text(f"SELECT count(*) FROM event WHERE status < {Status.COMPLETED:d}")
_TRUTH = text("""
SELECT outcome, count(*) FROM event e JOIN source s ON s.id = e.source_id WHERE s.name = :source GROUP BY outcome
""")


@dataclass(frozen=True, slots=True)
class Wave:
    """Events that are sent together, and what is to become of them."""

    outcome: Outcome
    type: str
    count: int
    entities: str
    """Which entities: those of another wave with the same word are met again."""
    at: timedelta = timedelta()
    """Its version: this far from now."""
    value: int = 0
    known: bool = False
    """The same messages as the wave of this word before: none is new."""
    expires: timedelta | None = None


def waves(total: int) -> list[list[Wave]]:
    """Return what is sent, in turns; each turn has ended before the next begins."""
    n = total // 20
    old = timedelta(minutes=-2)
    first = [
        Wave(Outcome.APPLIED, _HIGH, 2 * n, "high"),
        Wave(Outcome.APPLIED, _MEDIUM, 3 * n, "medium"),
        Wave(Outcome.APPLIED, _LOW, 4 * n, "low"),
        Wave(Outcome.APPLIED, "price.deleted", n, "gone"),
        Wave(Outcome.QUARANTINED, _HIGH, n, "ahead", at=timedelta(days=1)),
        Wave(Outcome.EXPIRED, _MEDIUM, n, "late", expires=timedelta(minutes=-1)),
        Wave(Outcome.DEAD, f"{DEAD}.updated", n, "dead"),
    ]
    second = [
        Wave(Outcome.STALE, _HIGH, 2 * n, "high", at=old, value=1),
        Wave(Outcome.UNCHANGED, _MEDIUM, 2 * n, "medium", at=timedelta(seconds=1)),
        Wave(Outcome.TOMBSTONED, _HIGH, n, "gone", at=old, value=1),
        Wave(Outcome.APPLIED, _LOW, n, "low", known=True),
    ]
    # While no worker listens on its lane, a newer one comes behind each.
    third = [
        Wave(Outcome.SUPERSEDED, _MEDIUM, n, "twice", at=old),
        Wave(Outcome.APPLIED, _MEDIUM, n, "twice", value=1),
    ]
    return [first, second, third]


def messages(sender: Sender, wave: Wave, began: datetime) -> Iterator[bytes]:
    """Yield a wave's signed requests."""
    at = (began + wave.at).isoformat()
    word = f"{wave.entities}/{wave.value}/{wave.at}"
    for number in range(wave.count):
        data: dict[str, object] = {"id": f"{wave.entities}-{number}", "amount": str(wave.value), "currency": "EUR"}
        if wave.expires is not None:
            data["expires_at"] = (began + wave.expires).isoformat()
        body = json.dumps({"type": wave.type, "timestamp": at, "data": data}).encode()
        headers = sender.sign(f"{word}-{number}", wave.type, body, time.time())
        yield request_bytes(f"/webhooks/{sender.name}", body, {"Content-Type": "application/json", **headers})


@dataclass(slots=True)
class Sent:
    """What the sender knows: its answers, and how often none came."""

    answers: int = 0
    unanswered: int = 0
    refused: int = 0
    new: int = 0
    known: int = 0

    def add(self, shots: list[Shot]) -> list[int]:
        """Count answers; return the places of those that must be sent again."""
        again = []
        for place, shot in enumerate(shots):
            self.answers += shot.status != _NO_ANSWER
            self.unanswered += shot.status == _NO_ANSWER
            self.new += shot.status == 202
            self.known += shot.status == 200
            if shot.status in {_NO_ANSWER, 503}:
                again.append(place)
            else:
                self.refused += shot.status not in {200, 202}
        return again


def send(target: Target, sender: Sender, turn: list[Wave], began: datetime, sent: Sent) -> None:
    """Send a turn until each message has its answer, as a real sender would."""
    todo = [message for wave in turn for message in messages(sender, wave, began)]
    Random(0).shuffle(todo)
    while todo:
        again = sent.add(fire(target.host, target.port, todo, _RATE))
        todo = [todo[place] for place in again]


def kill(processes: list[psutil.Process], words: str) -> None:
    """Kill one of a line's processes."""
    processes[0].send_signal(signal.SIGKILL)
    tell(f"killed {words} {processes[0].pid}")


def truth(target: Target, source: str) -> Counter[str]:
    """Return how many events ended how, as the table has it."""
    with target.engine.connect() as connection:
        found = connection.execute(_TRUTH, {"source": source})
        return Counter({"none" if row[0] is None else Outcome(row[0]).name.lower(): row[1] for row in found})


def scraped(url: str, name: str, **labels: str) -> Counter[str]:
    """Return a metric's samples of these labels, by outcome or result."""
    found: Counter[str] = Counter()
    shown = requests.get(f"{url}/metrics", timeout=10).text
    for family in text_string_to_metric_families(shown):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                key = sample.labels.get("outcome") or sample.labels.get("result") or ""
                found[key] += int(sample.value)
    return +found


def run(system: Parted, target: Target, sender: Sender, total: int) -> list[str]:
    """Send everything, print what was found, and return what isn't as it should be."""
    sent, began, turns = Sent(), datetime.now(UTC), waves(total)
    planned = Counter({outcome.name.lower(): 0 for outcome in Outcome})
    for wave in (wave for turn in turns for wave in turn if not wave.known):
        planned[wave.outcome.name.lower()] += wave.count

    def behind() -> int:
        with target.engine.connect() as connection:
            return int(connection.execute(_LEFT).scalar_one())

    third_s = total / _RATE / 3
    timers = [
        threading.Timer(third_s * 0.7, lambda: kill(system.children("web"), "gunicorn's process")),
        threading.Timer(third_s * 1.3, lambda: kill(system.children("worker-high"), "a worker's process")),
    ]
    for timer in timers:
        timer.start()
    for number, turn in enumerate(turns):
        tell(f"{sum(wave.count for wave in turn):,} events")
        if number == 2:
            system.stop("worker-medium")
            # The older ones first.
            for wave in turn:
                send(target, sender, [wave], began, sent)
            system.start("worker-medium")
        else:
            send(target, sender, turn, began, sent)
        settle(behind, _SETTLE_S, "do the workers run?")
    for timer in timers:
        timer.join()
    table = truth(target, sender.name)
    end = time.monotonic() + _AGREE_S
    while (counted := scraped(target.url, "tiercel_events_ended_total", source=sender.name)) != table:
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    received = scraped(target.url, "tiercel_events_received_total", source=sender.name)
    observed = scraped(target.url, "tiercel_http_request_seconds_count", route=_ROUTE)[""]
    return report(sent, +planned, table, counted, received, observed)


def report(
    sent: Sent,
    planned: Counter[str],
    table: Counter[str],
    counted: Counter[str],
    received: Counter[str],
    observed: int,
) -> list[str]:
    """Print the table; return what is wrong."""
    print("| outcome | planned | in the table | counted |\n|---|---|---|---|")
    for name in sorted(planned | table | counted):
        print(f"| {name} | {planned[name]:,} | {table[name]:,} | {counted[name]:,} |")
    lost, lost_new = sent.answers - observed, table.total() - received["new"]
    print(f"\nanswers {sent.answers:,} (202 {sent.new:,}, 200 {sent.known:,}), without an answer {sent.unanswered}")
    print(f"histogram of answers {observed:,}: {lost} fewer than were seen")
    print(f"new events counted {received['new']:,}: {lost_new} fewer than there are")
    wrong = [] if counted == table else ["the counters are not the table"]
    wrong += [] if planned == table else ["the table is not the plan"]
    wrong += [] if not sent.refused else [f"{sent.refused} requests were refused"]
    # One gunicorn process was killed: at most what all connections had under way.
    wrong += (
        [] if -THREADS <= lost <= THREADS and 0 <= lost_new <= THREADS else ["a process lost what it had reported"]
    )
    return wrong


def main() -> None:
    """Measure, and exit with 1 where something isn't the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="events in all (%(default)s)")
    given = parser.parse_args()

    def faulty(line: str) -> str:
        return re.sub("tasks.worker:celery", "bench.measure.faulty:celery", line) if "--queues" in line else line

    try:
        with parted(faulty) as system:
            target = system.target()
            with senders(target, {"tally": ("standard", {})}) as (made, _):
                wrong = run(system, target, made["tally"], given.count)
    except NotRunning as error:
        sys.exit(str(error))
    if wrong:
        sys.exit("; ".join(wrong))
    print("every counter is the truth")


if __name__ == "__main__":
    main()
