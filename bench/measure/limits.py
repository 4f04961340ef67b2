"""Owns what the limits cost a request, on the Redis of a running ``make up``: ``python -m bench.measure.limits``.

Processor time of one thread, and of eight at once: of a verified event that is let in, of one that is refused, and of
an unverified request.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from app.db.engine import make_engine
from app.models import Lane
from app.sources.configured import Endpoint, Limit
from app.sources.kinds import KINDS
from app.sources.kinds.kind import Config
from app.web.webhooks.limits.admission import DoorLimits
from app.web.webhooks.limits.refusals import RateLimited
from config.settings import load_settings

_COUNT = 200_000
_THREADS = 8
_SOURCE = 2_000_000_000
"""No source's id: its bucket in Redis ends by itself."""


def main() -> int:
    """Measure and print; microseconds of processor time for each request."""
    settings = load_settings()
    # Nothing of this belongs into the lanes' counts.
    engine = make_engine("postgresql+psycopg2://127.0.0.1:1/none")
    limits = DoorLimits(settings, engine, dict)
    generous, tiny = _endpoint(0, Limit(1_000_000, 10_000_000)), _endpoint(1, Limit(0.01, 1))
    usual = _endpoint(2, Limit(5000, 10_000_000))
    environ = {"REMOTE_ADDR": "198.51.100.1", "HTTP_X_FORWARDED_FOR": "203.0.113.1, 203.0.113.2"}
    table = Table("request", f"{_COUNT:,} in one thread (µs)", f"in {_THREADS} at once (µs)")
    for name, act in (
        ("let in, budget 1,000,000/s", lambda: limits.admit(generous, Lane.HIGH)),
        ("let in, the default's leases (5,000/s)", lambda: limits.admit(usual, Lane.HIGH)),
        ("refused", lambda: limits.admit(tiny, Lane.HIGH)),
        ("unverified", lambda: limits.charge_failure(environ)),
    ):
        table.add_row(name, f"{_measure(act, 1):.2f}", f"{_measure(act, _THREADS):.2f}")
    limits.close()
    engine.dispose()
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


def _endpoint(number: int, limit: Limit) -> Endpoint:
    kind = KINDS["standard"]
    return Endpoint(_SOURCE + number, "bench", kind, Config(), (), True, 1, datetime.now(UTC), limit)  # noqa: FBT003


def _measure(act: Callable[[], None], threads: int) -> float:
    def many() -> None:
        for _ in range(_COUNT // threads):
            with contextlib.suppress(RateLimited):
                act()

    running = [threading.Thread(target=many) for _ in range(threads)]
    before = time.process_time()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return (time.process_time() - before) / _COUNT * 1e6


if __name__ == "__main__":
    sys.exit(main())
