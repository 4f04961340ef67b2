"""Secrets planted wherever one can be given, and the search for them in everything that the system writes."""

import base64
import json
import os
import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from kombu import Connection

from app.db.engine import transaction
from app.messaging.messages import queue_name
from app.models import Lane
from app.security.vault import Vault
from app.sources import configured
from bench.soak import leaks
from tests.acceptance.conftest import System
from tests.support.cli_run import run
from tests.support.shop import wait_for
from tests.support.waiting import wait_until

MARK = "canary"


def canary() -> str:
    return f"{MARK}{secrets.token_hex(12)}"


class Planted:
    """What must be found nowhere."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.headers = {"Authorization": f"Bearer {system.key}"}
        self.path, self.wrong_key = canary(), canary()
        self.refused = f"whsec_{canary()}!"  # no base64, so no secret of the kind standard
        self.standard, self.rotated = (base64.b64encode(canary().encode()).decode() for _ in range(2))
        self.name = f"canary-{secrets.token_hex(4)}"
        self.answers: list[str] = []
        self.made_key = ""

    @property
    def wanted(self) -> list[str]:
        """Return the secrets, and those in base64 also as what they stand for."""
        plain = [base64.b64decode(text).decode() for text in (self.standard, self.rotated)]
        settings = self.system.settings
        own = [settings.secret_keys.get_secret_value(), settings.key_pepper.get_secret_value()]
        given = [self.path, self.refused, self.wrong_key, self.standard, self.rotated]
        return [*given, *plain, *own, self.system.key, self.made_key]

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        sent = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        response = requests.request(method, self.system.url + path, json=body, headers=sent, timeout=20)
        self.answers.append(f"{response.headers}{response.text}")
        return response

    def wait_for(self, event: str) -> None:
        """Wait until an event has been applied."""
        wait_for(lambda: self.call("GET", event).json(), lambda found: found["status"] == "completed")


@pytest.fixture(scope="module")
def planted(system: System) -> Planted:
    """Give, rotate, refuse and misuse secrets, by API, command line and webhook."""
    made = Planted(system)
    source = {"name": made.name, "kind": "standard", "secret": f"whsec_{made.standard}"}
    assert made.call("POST", "/v1/sources", source, Idempotency_Key=canary()).status_code == 201
    rotation = {"secret": f"whsec_{made.rotated}"}
    assert made.call("POST", f"/v1/sources/{made.name}/secret", rotation).status_code == 200
    for kind, secret in (("standard", made.refused), (made.refused, "x"), ("standard", {"it": made.refused})):
        wrong = {"name": f"{made.name}-x", "kind": kind, "secret": secret}
        assert 400 <= made.call("POST", "/v1/sources", wrong).status_code < 500
        made.answers.pop()  # a kind that there isn't is named
    # Elastic Path sends the secret in the body: right once, wrong once.
    with transaction(system.engine) as session:
        configured.add(session, system.vault, f"{made.name}-ep", "elasticpath", made.path, {})
    for secret in (made.path, made.refused):
        event = {
            "id": canary(),
            "triggered_by": "currency.updated",
            "attempt": 1,
            "integration": {"id": "i"},
            "payload": {"data": {"id": "1", "type": "currency", "code": "EUR", "note": f"the secret is {secret}"}},
            "configuration": {"url": "https://receiver.example/", "secret_key": secret},
        }
        sent = {"X-MOLTIN-SECRET-KEY": secret, "tracestate": f"who={secret}", "baggage": f"who={secret}"}
        response = requests.post(f"{system.url}/webhooks/{made.name}-ep", json=event, headers=sent, timeout=20)
        made.answers.append(response.text)
        if secret is made.path:
            assert response.status_code == 202, response.text
            made.wait_for(f"/v1/events/{response.json()['id']}")
    # A key that is none, one that is made, and a fault.
    for header in (f"Bearer tk_{made.wrong_key}", f"Basic {made.wrong_key}", made.wrong_key):
        assert requests.get(f"{system.url}/v1/keys", headers={"Authorization": header}, timeout=20).status_code == 401
    body = {"name": "canary", "scope": "read"}
    made.made_key = made.call("POST", "/v1/keys", body, Idempotency_Key="canary").json()["key"]
    made.answers.pop()  # the one answer that shows it
    for path in (
        "events",
        "sources",
        "keys",
        "audit",
        "lanes",
        "currencies",
        "priority/policy",
        f"sources/{made.name}",
    ):
        assert made.call("GET", f"/v1/{path}").status_code == 200
    for path in ("/openapi.json", "/docs", "/readyz", "/v1/nothing"):
        made.call("GET", path)
    return made


def found(planted: Planted, text: str) -> list[str]:
    return [wanted for wanted in planted.wanted if wanted in text]


def test_no_secret_is_in_an_answer(planted: Planted) -> None:
    assert found(planted, "\n".join(planted.answers)) == []


def test_no_secret_is_in_a_log(planted: Planted) -> None:
    assert len(planted.system.log_text()) > 0
    assert found(planted, planted.system.log_text()) == []
    logs = [path for path in Path(os.environ["TIERCEL_HOME"]).rglob("*.log") if path.is_file()]
    for wanted in planted.wanted:
        assert list(leaks.in_logs(logs, wanted)) == []


def test_no_secret_is_in_the_database(planted: Planted) -> None:
    for wanted in planted.wanted:
        assert list(leaks.in_database(planted.system.engine, wanted)) == []
    # The search finds what is there.
    assert list(leaks.in_database(planted.system.engine, planted.name))


def test_no_secret_is_in_redis_or_in_a_message(planted: Planted) -> None:
    with redis.Redis.from_url(planted.system.settings.redis_url) as client:
        for key in client.scan_iter(count=1000):
            kept = client.dump(key) or b""
            assert found(planted, key.decode(errors="replace") + kept.decode("latin-1")) == []
    with Connection(planted.system.settings.broker_url) as connection:
        channel: Any = connection.channel()
        for lane in Lane:
            message = channel.basic_get(queue_name(lane), no_ack=False)
            assert message is None or found(planted, str(message.body)) == []


def test_no_secret_is_in_a_trace(planted: Planted) -> None:
    traces = planted.system.traces
    wait_until(lambda: any(s.attributes.get("tiercel.source") == f"{planted.name}-ep" for s in traces.spans))
    sent = b"".join(traces.bodies).decode("latin-1")
    assert planted.name in sent
    assert found(planted, sent) == []


def test_no_secret_is_in_flower(planted: Planted) -> None:
    url = f"http://127.0.0.1:{planted.system.flower_port}"
    assert requests.get(f"{url}/api/tasks", timeout=20).status_code == 401
    for path in ("/api/tasks?limit=500", "/api/workers", "/workers?json=1", "/tasks", "/broker"):
        page = requests.get(url + path, auth=("tiercel", "flower"), timeout=20)
        assert page.status_code == 200, path
        assert found(planted, page.text) == [], path


def test_no_secret_is_in_what_the_command_line_prints(planted: Planted) -> None:
    for words in (
        ("sources", "list", "--json"),
        ("sources", "list"),
        ("keys", "list", "--json"),
        ("audit", "--json"),
        ("events", "list", "--json"),
        ("events", "dead"),
        ("doctor",),
        ("secrets", "rotate", "--dry-run"),
        ("sources", "add", planted.name, "--kind", "standard", "--secret", planted.refused),
        ("sources", "rotate-secret", planted.name, "--secret", planted.refused),
    ):
        assert found(planted, run(*words).output) == [], words


def reprs(system: System) -> Iterator[str]:
    vault = Vault(system.settings)
    yield repr(system.settings)
    yield str(system.settings)
    yield repr(vault)
    with transaction(system.engine) as session:
        live, _, _ = configured.changed_since(session, vault, datetime.fromtimestamp(0, UTC))
        yield repr(live)
        yield repr(configured.listed(session))
    yield repr([vars(one) if hasattr(one, "__dict__") else one for one in live])


def test_no_secret_is_in_a_repr_not_even_a_password_of_a_url(planted: Planted) -> None:
    shown = "\n".join(reprs(planted.system))
    assert planted.name in shown
    assert found(planted, shown) == []
    for url in (planted.system.settings.database_url, planted.system.settings.broker_url):
        password = url.partition("//")[2].rpartition("@")[0].partition(":")[2]
        assert len(password) > 8
        assert password not in shown
        assert password not in planted.system.log_text()


def test_no_secret_is_in_the_arguments_of_a_process(planted: Planted) -> None:
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        assert found(planted, words) == [], json.dumps(words[:80])
