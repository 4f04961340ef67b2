"""The door as gunicorn serves it: what a request waits for keeps nobody else waiting; where a body ends."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from standardwebhooks import Webhook

from config.settings import Settings
from tests.support.factories import Inbox
from tests.support.waiting import free_port, wait_until

ROOT = Path(__file__).parents[3]


@pytest.fixture
def url(inbox: Inbox, services: dict[str, str]) -> Iterator[str]:
    """Serve the receiver with one process, which is patient."""
    port = str(free_port())
    own = {"PORT": port, "WEB_PROCESSES": "1", "WEB_THREADS": "8", "STORE_TIMEOUT_S": "20"}
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", "app/gunicorn_conf.py", "app.wsgi:flask_app"],
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


def event(number: object) -> str:
    data = {"id": f"sku-{number}", "amount": "1.00", "currency": "EUR"}
    return json.dumps({"type": "price.updated", "timestamp": datetime.now(UTC).isoformat(), "data": data})


def signed(secret: str, text: str, number: object, content_type: str = "application/json") -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "content-type": content_type,
        "webhook-id": f"msg_{number}",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(f"msg_{number}", now, text),
    }


def is_taken(url: str, secret: str, number: object) -> bool:
    text = event(number)
    headers = signed(secret, text, number)
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


@pytest.mark.parametrize(
    ("more", "status"), [(b"", 202), (b" ", 413), (b"," * 1_000_000, 413)], ids=["none", "one", "many"]
)
def test_a_body_in_chunks_ends_at_the_limit_or_is_413(
    url: str, inbox: Inbox, settings: Settings, more: bytes, status: int
) -> None:
    text = event(1).ljust(settings.max_body_bytes)
    chunks = iter([text.encode(), more] if more else [text.encode()])
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)) as connection:
        headers = signed(inbox.secret, text, 1)
        connection.request("POST", "/webhooks/shop", chunks, headers, encode_chunked=True)
        assert connection.getresponse().status == status
    assert inbox.sql("SELECT count(*) FROM event WHERE external_id = 'msg_1'") == [(int(status == 202),)]


@pytest.mark.parametrize("lines", [2, 200], ids=["small", "large"])
def test_of_a_batch_that_ends_early_nothing_is_kept(url: str, inbox: Inbox, lines: int) -> None:
    # Signed as far as it goes: the signature doesn't cover how long the body was to be.
    host, port = url.removeprefix("http://").split(":")
    text = event(1)
    body = "\n".join([text] * lines) + "\n"
    head = {**signed(inbox.secret, body, 1, "application/x-ndjson"), "content-length": str(len(body) + len(text))}
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        named = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        connection.sendall(f"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\n{named}\r\n{body}".encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert not answer or b" 400 " in answer.partition(b"\r\n")[0]
    assert inbox.sql("SELECT count(*) FROM event WHERE external_id LIKE 'msg_1.%'") == [(0,)]
