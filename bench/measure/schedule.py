"""Owns the measurement of scheduled events: how long after its ``effective_at`` each is applied.

Beside a running ``make up``.
"""

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from app.db.engine import transaction
from app.models import Lane, Outcome
from bench.harness.inject import injector, made
from bench.harness.target import NotRunning, find_target
from bench.measure.latency import spread

LATE_MS = 250.0
_AHEAD_S = 3.0
_END_S = 60.0
_LATE = text(f"""
SELECT extract(epoch FROM finished_at - effective_at) * 1000 FROM event WHERE source_id = :source_id
    AND outcome = {Outcome.APPLIED:d}
""")


def main() -> int:
    """Measure, show, and return the exit status: 1 where a bound doesn't hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.measure.schedule", description=__doc__)
    parser.add_argument("--events", type=int, default=300, help="scheduled events (%(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="spread over (%(default)g)")
    words = parser.parse_args()
    try:
        target = find_target()
    except NotRunning as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    with injector(target) as inbox:
        source = inbox.add_source("schedule")
        begin = datetime.now(UTC) + timedelta(seconds=_AHEAD_S)
        times = [begin + timedelta(seconds=words.seconds * number / words.events) for number in range(words.events)]
        events = [
            made("price.updated", f"sku/{number}", 1, effective_at=at.isoformat()) for number, at in enumerate(times)
        ]
        inbox.put(source, events, Lane.HIGH)
        end = time.monotonic() + words.seconds + _END_S
        late_ms: list[float] = []
        while len(late_ms) < words.events and time.monotonic() < end:
            time.sleep(0.2)
            with transaction(target.engine) as session:
                late_ms = [float(row[0]) for row in session.execute(_LATE, {"source_id": source.id})]
    if not late_ms:
        print("none was applied: do the workers run?")
        return 1
    found = spread(late_ms)
    print(
        f"{found.count} of {words.events} applied, after their time by (ms): p50 {found.p50}, p95 {found.p95}, "
        f"p99 {found.p99}, longest {found.longest}; earliest {min(late_ms):.1f}"
    )
    return 0 if found.count == words.events and found.longest <= LATE_MS and min(late_ms) >= 0 else 1


if __name__ == "__main__":
    sys.exit(main())
