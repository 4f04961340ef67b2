"""Owns one fault's run: load, the fault in the middle of it, and what every event and every row became."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import text

from app.db.engine import transaction
from app.models import HELD, Lane
from bench.demo import day
from bench.demo.ledger import doorbook, ended, ended_count, source_ids
from bench.demo.sending import Sending
from bench.demo.shop import WANTED
from bench.demo.verdict import Run, checks
from bench.harness.target import Target, senders
from tests.faults.injections import Fault
from tests.faults.system import System

_TRIES = 1_000
_P99_FLOOR_MS = 250.0
"""Below it a p99 of a second says more about the machine than about the fault."""
_WINDOW_S = 1.0
_DRAIN_S = 120.0


@dataclass
class Result:
    """What came of one fault."""

    fault: str
    accepted: int = 0
    lost: int = 0
    twice: int = 0
    wrong_rows: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    healthy_s: float | None = None
    """From the end of the fault until it answers, is ready, and high's p99 is as before."""
    baseline_ms: float = 0.0
    differences: list[str] = field(default_factory=list)


def run(system: System, fault: Fault, *, seed: int, count: int, rate: float) -> Result:
    """Send ``count`` events, times the fault's own, at ``rate`` a second at the most; a quarter before the fault."""
    target = system.target()
    future = day.FUTURE if fault.future is None else fault.future
    messages = day.plan(seed, count * fault.times, time.time(), target.settings.max_body_bytes, future=future)
    try:
        with senders(target, WANTED) as (made, key):
            sources = source_ids(target.engine, [sender.name for sender in made.values()])
            sending = Sending(target, made, messages, rate, tries=_TRIES)
            sending.start()
            began = time.time()
            system.until(lambda: len(sending.sent) >= len(messages) // 4 or sending.is_done(), 600, "a quarter sent")
            faulty = time.time()
            with fault.inject(system):
                time.sleep(fault.hold_s)
            over = time.time()
            # Ours broke with everybody's.
            target.engine.dispose()
            ready_s = system.until(system.ready, 60, "ready again")
            system.until(sending.is_done, 900, "sent")
            sending.stop()
            sent = list(sending.sent)
            book = doorbook(sent)
            _drained(system, target, sources, len(book.accepted))
            events = ended(target.engine, sources)
            result = _judge(Run(target, made, key, sent, book, events, sources), fault, seed)
            result.refused = sending.refused
            result.baseline_ms, result.healthy_s = _healthy(target, sources, began, faulty, over, ready_s)
            return result
    finally:
        target.engine.dispose()


def _drained(system: System, target: Target, sources: Sequence[int], accepted: int) -> None:
    end = time.monotonic() + _DRAIN_S
    while ended_count(target.engine, sources) < accepted and time.monotonic() < end:
        time.sleep(0.2)


def _judge(done: Run, fault: Fault, seed: int) -> Result:
    result = Result(fault.name, accepted=len(done.book.accepted))
    result.lost = sum(
        event_id not in done.events or done.events[event_id].outcome is None for event_id in done.book.accepted
    )
    for check in checks(done, seed):
        result.differences += [f"{check.claim}: {difference}" for difference in check.differences]
        if check.claim == "every fact and every lead exactly once":
            result.twice += len(check.differences)
        elif check.claim in {"every final row is the reference model's", "the typed rows follow their entities"}:
            result.wrong_rows += len(check.differences)
    result.lost += len(done.book.unanswered)
    result.differences += [f"{len(done.book.unanswered)} requests got no answer"] * bool(done.book.unanswered)
    return result


_LATENCIES = text("""
SELECT extract(epoch FROM received_at), 1000 * extract(epoch FROM finished_at - received_at) FROM event
WHERE source_id = ANY(:sources) AND lane = :lane AND outcome <> ALL(:held)
ORDER BY received_at
""")


def _healthy(
    target: Target, sources: Sequence[int], began: float, faulty: float, over: float, ready_s: float
) -> tuple[float, float | None]:
    """Return high's p99 before the fault, and how long after it high was as fast again."""
    values = {"sources": list(sources), "lane": int(Lane.HIGH), "held": [int(outcome) for outcome in HELD]}
    with transaction(target.engine) as session:
        seen = [(float(at), float(took)) for at, took in session.execute(_LATENCIES, values) if took is not None]
    before = [took for at, took in seen if began + 1 <= at < faulty] or [took for at, took in seen if at < faulty]
    baseline_ms = _p99(before)
    allowed_ms = max(2 * baseline_ms, _P99_FLOOR_MS)
    after = [(at, took) for at, took in seen if at >= over]
    step = 0.0
    while after and over + step <= after[-1][0]:
        window = [took for at, took in after if over + step <= at < over + step + _WINDOW_S]
        if window and _p99(window) <= allowed_ms:
            return baseline_ms, max(step, ready_s)
        step += 0.25
    return baseline_ms, None


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))] if values else 0.0
