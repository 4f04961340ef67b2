"""Owns the measurement behind the day's service times: the processor time that an event costs, by lane.

Beside a running ``make up`` that does nothing else. Processor time, not a clock, so that what other work shares the
machine counts for little; of every process of the run but Flower. Two figures: an event that comes by itself, through
the door, and one out of a backlog, which is stored already and is worked on together with others.
"""

import argparse
import sys
import time

import psutil
from sqlalchemy import text

from app.db.engine import transaction
from app.db.pipeline import pipelined_transaction
from app.models import Lane
from bench.harness.inject import Injector, copies, injector, made
from bench.harness.load import fire, request_bytes
from bench.harness.target import NotRunning, Target, find_target, senders
from bench.measure.latency import event_body
from config.settings import tiercel_home

TYPES = {Lane.HIGH: "price.updated", Lane.MEDIUM: "segment.updated", Lane.LOW: "log.recorded"}
_IDLE_S = 5.0
_SETTLE_S = 3.0
_END_S = 180.0
_LEFT = text("SELECT count(*) FROM event WHERE source_id = :source_id AND finished_at IS NULL")


def main() -> int:
    """Measure, show, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate.measure", description=__doc__)
    parser.add_argument("--events", type=int, default=5_000, help="of each lane's backlog (%(default)s)")
    parser.add_argument("--rate", type=float, default=50.0, help="events a second, one by one (%(default)g)")
    parser.add_argument("--seconds", type=float, default=20.0, help="one by one (%(default)g)")
    words = parser.parse_args()
    try:
        target = find_target()
    except NotRunning as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    with injector(target) as inbox:
        idle = -_spent_s()
        time.sleep(_IDLE_S)
        idle = (idle + _spent_s()) / _IDLE_S
        print(f"idle: {idle:.2f} of a core")
        for lane in Lane:
            single_ms = _one_by_one(target, lane, words.rate, words.seconds, idle)
            together_ms = _together(inbox, lane, words.events, idle)
            print(f"{lane.name.lower()}: {single_ms:.2f} ms of a core by itself, {together_ms:.2f} out of a backlog")
    return 0


def _one_by_one(target: Target, lane: Lane, rate: float, seconds: float, idle: float) -> float:
    with senders(target, {"measure": ("standard", {})}) as (found, _):
        sender, requests = found["measure"], []
        for number in range(round(rate * seconds)):
            at = time.time()
            body = event_body(TYPES[lane], at, {"id": f"{number}", "amount": "19.90", "currency": "EUR"})
            headers = {"Content-Type": "application/json", **sender.sign(f"one-{number}", TYPES[lane], body, at)}
            requests.append(request_bytes(f"/webhooks/{sender.name}", body, headers))
        before, began = _spent_s(), time.monotonic()
        shots = fire(target.host, target.port, requests, rate)
        time.sleep(_SETTLE_S)
        spent_s = _spent_s() - before - idle * (time.monotonic() - began)
    return spent_s * 1000 / sum(shot.status == 202 for shot in shots)


def _together(inbox: Injector, lane: Lane, count: int, idle: float) -> float:
    source = inbox.add_source("measure")
    (event_id,) = inbox.put(source, [made(TYPES[lane], source.name, 1)], lane, wait=True)
    with pipelined_transaction(inbox.engine) as session:
        copies(session, event_id, count)
    before, began = _spent_s(), time.monotonic()
    while left := _left(inbox, source.id):
        if time.monotonic() > began + _END_S:
            raise NotRunning(f"{left} events still wait after {_END_S:g} s")
        time.sleep(0.5)
    time.sleep(_SETTLE_S)
    return (_spent_s() - before - idle * (time.monotonic() - began)) * 1000 / count


def _left(inbox: Injector, source_id: int) -> int:
    with transaction(inbox.engine) as session:
        return int(session.execute(_LEFT, {"source_id": source_id}).scalar_one())


def _spent_s() -> float:
    """Return the processor time that the run's processes have spent so far, but for Flower."""
    total = 0.0
    for record in (tiercel_home() / "run").iterdir():
        if record.name != "flower":
            leader = psutil.Process(int(record.read_text().split()[0]))
            for process in [leader, *leader.children(recursive=True)]:
                spent = process.cpu_times()
                total += spent.user + spent.system
    return total


if __name__ == "__main__":
    sys.exit(main())
