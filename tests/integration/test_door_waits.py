"""What a request at the door waits for, where many share a loop: it keeps no other sender's request waiting."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from standardwebhooks import Webhook

from tests.factories import Inbox
from tests.waiting import free_port, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(inbox: Inbox, services: dict[str, str]) -> Iterator[str]:
    """Serve the receiver with one process, which is patient."""
    port = str(free_port())
    own = {"PORT": port, "WEB_PROCESSES": "1", "WEB_THREADS": "8", "STORE_TIMEOUT_S": "20"}
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "app.wsgi:flask_app"],
        cwd=ROOT,
        env={**os.environ, **services, **own},
    )
    found = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: is_taken(found, inbox.secret, "first"))
        yield found
    finally:
        process.kill()
        process.wait()


def is_taken(url: str, secret: str, number: object) -> bool:
    now = datetime.now(UTC)
    data = {"id": f"sku-{number}", "amount": "1.00", "currency": "EUR"}
    text = json.dumps({"type": "price.updated", "timestamp": now.isoformat(), "data": data})
    headers = {
        "content-type": "application/json",
        "webhook-id": f"msg_{number}",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(f"msg_{number}", now, text),
    }
    try:
        return requests.post(f"{url}/webhooks/shop", data=text, headers=headers, timeout=20).status_code == 202
    except requests.ConnectionError:
        return False


def test_who_waits_for_the_sources_to_be_read_keeps_nobody_waiting(url: str, inbox: Inbox) -> None:
    ended: list[int] = []

    def ask() -> None:
        ended.append(requests.post(f"{url}/webhooks/nobody", data="{}", timeout=20).status_code)

    asks = [threading.Thread(target=ask) for _ in range(3)]
    with inbox.engine.connect() as holder:
        # What the receiver's view of the sources is read from, but no event's way goes through.
        holder.exec_driver_sql("LOCK TABLE priority_policy IN ACCESS EXCLUSIVE MODE")
        wait_until(lambda: inbox.sql("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0] == 1)
        for thread in asks:
            thread.start()
        assert all(is_taken(url, inbox.secret, number) for number in range(20))
        assert ended == []
        holder.rollback()
    for thread in asks:
        thread.join()
    assert ended == [404] * 3
