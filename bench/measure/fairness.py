"""Owns the measurement of fairness: what a flood of one source costs another one in the same lane.

Beside a running ``make up``. The bound: an event of a source that stays within its share waits for no other source's
backlog, only for what is in the queue when it comes, one window at the most, and for one step of the dispatcher.
"""

import argparse
import sys
import time

from sqlalchemy import text

from app.db.engine import transaction
from app.db.pipeline import pipelined_transaction
from app.models import Lane
from bench.harness.inject import Injector, copies, injector, made
from bench.harness.target import NotRunning, find_target
from bench.measure.latency import Spread, spread
from config.settings import Settings

_STEP_MS = 250.0
_WEIGHT = 3
_TOOK = text("""
SELECT extract(epoch FROM finished_at - received_at) * 1000 FROM event
WHERE source_id = :source_id AND finished_at IS NOT NULL
""")
_ENDED = text("SELECT count(*) FROM event WHERE source_id = :source_id AND finished_at IS NOT NULL")
_EVENT = {Lane.HIGH: "price.updated", Lane.MEDIUM: "segment.updated", Lane.LOW: "view.seen"}
_END_S = 60.0
_SETTLE_S = 5.0
"""Until what was published before the second flood came has been worked on."""
_SET_WEIGHT = text("UPDATE source SET weight = :weight WHERE id = :id")


def main() -> int:
    """Measure, show, and return the exit status: 1 where the bound or the weights don't hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.measure.fairness", description=__doc__)
    parser.add_argument("--waiting", type=int, default=1_000_000, help="events of the flood (%(default)s)")
    parser.add_argument("--lane", choices=[lane.name.lower() for lane in Lane], default="low", help="(%(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="events a second of the other source (%(default)g)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each part (%(default)g)")
    words = parser.parse_args()
    lane = Lane[words.lane.upper()]
    try:
        target = find_target()
    except NotRunning as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    with injector(target) as inbox:
        alone = _trickle(inbox, "alone", lane, words.rate, words.seconds)
        flood, heavy = inbox.add_source("flood"), inbox.add_source("heavy")
        began = time.monotonic()
        for source, count, weight in ((flood, words.waiting, 1), (heavy, words.waiting // 5, _WEIGHT)):
            with inbox.engine.begin() as connection:
                connection.execute(_SET_WEIGHT, {"weight": weight, "id": source.id})
            (event_id,) = inbox.put(source, [made(_EVENT[lane], source.name, 1)], lane, wait=True)
            with pipelined_transaction(inbox.engine) as session:
                session.execute(text("SET LOCAL statement_timeout = 0"))
                copies(session, event_id, count)
        filled_s = time.monotonic() - began
        time.sleep(_SETTLE_S)
        before = {source.id: _count(inbox, source.id) for source in (flood, heavy)}
        began = time.monotonic()
        beside = _trickle(inbox, "beside", lane, words.rate, words.seconds)
        took_s = time.monotonic() - began
        ended = {source.id: _count(inbox, source.id) - before[source.id] for source in (flood, heavy)}
    share = ended[heavy.id] / max(ended[flood.id], 1)
    bound_ms = _bound_ms(target.settings, sum(ended.values()) / took_s, alone)
    print(f"lane {words.lane}; {words.waiting:,} and {words.waiting // 5:,} waiting (stored in {filled_s:.0f} s)")
    for name, found in (("alone", alone), ("beside the floods", beside)):
        print(
            f"{name}: {found.count} events, ms p50 {found.p50}, p95 {found.p95}, p99 {found.p99}, "
            f"longest {found.longest}"
        )
    print(
        f"the floods: {sum(ended.values()) / took_s:,.0f}/s; weight {_WEIGHT} got {share:.2f} times what weight 1 got"
    )
    print(f"bound: {bound_ms:,.0f} ms (a window and a step beyond what it takes alone)")
    return 0 if beside.longest <= bound_ms and beside.count == alone.count else 1


def _bound_ms(settings: Settings, drain_per_s: float, alone: Spread) -> float:
    window = min(settings.window_pointers, max(200, drain_per_s * settings.window_s))
    return window / max(drain_per_s, 1) * 1000 + _STEP_MS + alone.longest


def _trickle(inbox: Injector, role: str, lane: Lane, rate: float, seconds: float) -> Spread:
    """Store events of a new source one by one, and return how long each took from its arrival to its end."""
    source = inbox.add_source(role)
    began, count = time.monotonic(), round(rate * seconds)
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        inbox.put(source, [made(_EVENT[lane], f"{source.name}/{number}", 1)], lane, wait=True)
    end = time.monotonic() + _END_S
    while _count(inbox, source.id) < count and time.monotonic() < end:
        time.sleep(0.1)
    with transaction(inbox.engine) as session:
        return spread([float(row[0]) for row in session.execute(_TOOK, {"source_id": source.id})])


def _count(inbox: Injector, source_id: int) -> int:
    with transaction(inbox.engine) as session:
        return int(session.execute(_ENDED, {"source_id": source_id}).scalar_one())


if __name__ == "__main__":
    sys.exit(main())
