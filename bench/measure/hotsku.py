"""Owns the measurement of a hot SKU: one price that changes 1,000 times a second, through the door.

Beside a running ``make up``. It must cost a handful of applies a second, and end at the newest.
"""

import argparse
import json
import sys
import time
from datetime import UTC, datetime

from sqlalchemy import text

from app.db.engine import transaction
from bench.harness.load import fire, request_bytes
from bench.harness.target import NotRunning, Sender, find_target, senders

_END_S = 60.0
_OUTCOMES = text("""
SELECT coalesce(outcome, 0), count(*) FROM event JOIN source s ON s.id = source_id WHERE s.name = :name GROUP BY 1
""")
_DATA = text("""
SELECT entity.data FROM entity JOIN source s ON s.id = source_id WHERE s.name = :name AND entity_id = 'hot'
""")
_APPLIED = 1


def main() -> int:
    """Measure, show, and return the exit status: 1 where it ends wrong or an event is lost."""
    parser = argparse.ArgumentParser(prog="python -m bench.measure.hotsku", description=__doc__)
    parser.add_argument("--rate", type=float, default=1_000.0, help="changes a second (%(default)g)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long (%(default)g)")
    words = parser.parse_args()
    try:
        target = find_target()
        with senders(target, {"hotsku": ("standard", {})}) as (found, _):
            sender = found["hotsku"]
            requests = _requests(sender, round(words.rate * words.seconds), words.rate)
            began = time.monotonic()
            shots = fire(target.host, target.port, requests, words.rate)
            took_s = time.monotonic() - began
            accepted = sum(shot.status == 202 for shot in shots)
            end = time.monotonic() + _END_S
            outcomes: dict[int, int] = {0: 1}
            while outcomes.get(0) and time.monotonic() < end:
                time.sleep(0.2)
                with transaction(target.engine) as session:
                    outcomes = dict(session.execute(_OUTCOMES, {"name": sender.name}).tuples().all())
            with transaction(target.engine) as session:
                data = json.loads(session.execute(_DATA, {"name": sender.name}).scalar_one())
    except NotRunning as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    applied, ended = outcomes.get(_APPLIED, 0), sum(outcomes.values()) - outcomes.get(0, 0)
    right = data["n"] == len(requests) - 1
    print(
        f"{accepted:,} changes accepted in {took_s:.1f} s ({accepted / took_s:,.0f}/s), {ended:,} ended: "
        f"{applied:,} applied ({applied / took_s:.0f} a second), one in {ended / max(applied, 1):.0f}; "
        f"the row is at the {'newest' if right else 'WRONG'} change"
    )
    return 0 if right and accepted == ended == len(requests) else 1


def _requests(sender: Sender, count: int, rate: float) -> list[bytes]:
    began, made = time.time(), []
    for number in range(count):
        at = datetime.fromtimestamp(began + number / rate, UTC).isoformat()
        data = {"id": "hot", "amount": f"{number}.00", "currency": "EUR", "n": number, "updated_at": at}
        body = json.dumps({"type": "price.updated", "timestamp": at, "data": data}).encode()
        headers = sender.sign(f"hot-{number}", "price.updated", body, began + number / rate)
        made.append(request_bytes(f"/webhooks/{sender.name}", body, {"Content-Type": "application/json", **headers}))
    return made


if __name__ == "__main__":
    sys.exit(main())
