"""The refusal matrix: for every kind, each way of being wrong is refused under its own name, and leaves no row."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.cli import bodies
from app.cli.bodies import Example
from app.db.engine import transaction
from app.sources import configured
from app.sources.kinds import KINDS, Request
from app.sources.kinds.kind import Outgoing
from app.web.factory import create_app
from config.settings import Settings
from tests.support.factories import Inbox
from tests.support.source_secrets import OTHERS, SECRETS


@dataclass(frozen=True)
class Case:
    """One kind as it is set up, and what of the matrix applies to it."""

    kind: str
    signature: str
    """The header that carries the signature."""
    config: dict[str, Any] = field(default_factory=dict)
    signs_body: bool = True
    signs_time: bool = False


CASES = [
    Case("elasticpath", "x-moltin-secret-key", signs_body=False),
    Case("adobe-io", "x-adobe-signature", {"client_id": "us"}),
    Case("shopify", "x-shopify-hmac-sha256"),
    Case("squarespace", "squarespace-signature"),
    Case("bigcommerce", "webhook-signature", signs_time=True),
    Case("standard", "webhook-signature", signs_time=True),
    Case("cloudevents", "authorization", signs_body=False),
    Case("cloudevents", "x-signature", {"auth": "hmac"}),
    Case("hmac", "x-hub-signature-256"),
    Case("hmac", "stripe-signature", {"header": "stripe-signature", "signed_timestamp": True}, signs_time=True),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}, {case.signature}")
Answer = tuple[int, str]


@pytest.fixture
def client(settings: Settings, inbox: Inbox) -> Iterator[FlaskClient]:
    made = create_app(settings.model_copy(update={"store_timeout_s": 20.0}))
    yield made.test_client()
    made.extensions["receiver"].close()


@pytest.fixture
def refused(client: FlaskClient, inbox: Inbox) -> Iterator[Callable[[Case, dict[str, str], bytes], Answer]]:
    def send(case: Case, headers: dict[str, str], body: bytes) -> Answer:
        answer = client.post("/webhooks/tried", data=body, headers=headers)
        assert answer.content_type == "application/problem+json", answer.text
        assert answer.json is not None
        return answer.status_code, str(answer.json["type"]).rpartition("#")[2]

    yield send
    assert inbox.sql("SELECT count(*) FROM event_key") == [(0,)]
    assert inbox.sql("SELECT count(*) FROM event") == [(0,)]


def add(inbox: Inbox, case: Case, name: str = "tried", secret: str | None = None) -> None:
    with transaction(inbox.engine) as session:
        configured.add(session, inbox.vault, name, case.kind, secret or SECRETS[case.kind], case.config)


def made(case: Case, secret: str | None = None, at: float | None = None) -> tuple[dict[str, str], bytes]:
    kind, now = KINDS[case.kind], time.time() if at is None else at
    config = kind.config.model_validate(case.config)
    type_ = bodies.MAKERS[case.kind].default_type
    used = SECRETS[case.kind] if secret is None else secret
    body = bodies.body(case.kind, Example("key-1", type_, None, 1, now, used, config))
    headers = kind.sign(Outgoing("key-1", type_, body, now), used, config)
    return {"content-type": "application/json", **headers}, body


def other_encodings(value: str) -> list[str]:
    """Return the same signature in hex for base64 and the other way round, and as nothing of the kind."""
    head, mark, signature = value.rpartition(
        "," if "," in value else "=" if value.startswith(("sha256=", "t=")) else " "
    )
    if "v1=" in value:
        head, mark, signature = value.rpartition("v1=")
    try:
        turned = base64.b64encode(bytes.fromhex(signature)).decode()
    except ValueError:
        padded = signature + "=" * (-len(signature) % 4)
        turned = base64.b64decode(padded, altchars=b"-_").hex() if signature.isascii() else "x"
    return [head + mark + changed for changed in (turned, signature[:-1], "\xff\xfe", "====", "0" * 64, "null")]


Attempt = tuple[dict[str, str], bytes]


def forged(case: Case) -> Iterator[tuple[str, Attempt]]:
    yield "the wrong secret, another source's of the same kind", made(case, OTHERS[case.kind])
    headers, body = made(case)
    given = headers[case.signature]
    encodings = other_encodings(given) if case.signs_body else ["\xff\xfe", "====", "null", given[:-1]]
    for value in encodings:
        yield f"the wrong encoding: {value}", ({**headers, case.signature: value}, body)
    if case.signs_body:
        for again in (json.dumps(json.loads(body)).encode(), body + b"\n", b"\xef\xbb\xbf" + body):
            assert again != body
            yield f"serialised again by a proxy: {again[:10]!r}", (headers, again)


def incomplete(case: Case) -> Iterator[tuple[str, Attempt]]:
    headers, body = made(case)
    for missing in {case.signature, *(name for name in headers if case.signs_time and name.startswith("webhook-"))}:
        kept = {name: value for name, value in headers.items() if name != missing}
        yield f"without {missing}", (kept, body)
        yield f"with an empty {missing}", ({**kept, missing: ""}, body)


def replayed(case: Case) -> Iterator[tuple[str, Attempt]]:
    for off in (-301.5, 301.5, -86_400.0, 86_400.0) if case.signs_time else ():
        yield f"{off} s off", made(case, at=time.time() + off)


@every_case
def test_every_way_of_being_wrong_is_refused_under_its_own_name(case: Case, inbox: Inbox, refused: Any) -> None:
    add(inbox, case)
    add(inbox, case, "another", OTHERS[case.kind])
    for ways, name in (
        (forged, "signature-invalid"),
        (incomplete, "signature-missing"),
        (replayed, "timestamp-outside-tolerance"),
    ):
        tried = dict(ways(case))
        assert {way: refused(case, *attempt) for way, attempt in tried.items()} == dict.fromkeys(tried, (401, name))


@every_case
def test_an_empty_secret(case: Case, inbox: Inbox, refused: Any) -> None:
    add(inbox, case)
    blank = [{"sealed": inbox.vault.seal(""), "until": None}]
    for secrets in ([], blank):
        inbox.sql(
            "UPDATE source SET secrets = CAST(:s AS jsonb), revision = revision + 1, updated_at = clock_timestamp()",
            s=json.dumps(secrets),
        )
        # Adobe would lose for ever what is answered 4xx, and this is our fault.
        answer = (503, "source-not-ready") if case.kind == "adobe-io" else (401, "secret-missing")
        assert refused(case, *made(case)) == answer
        headers, body = made(case)
        assert (
            refused(case, {**headers, case.signature: "Bearer " if case.signature == "authorization" else "x"}, body)
            == answer
        )


@every_case
def test_a_replay_within_the_window_is_known(case: Case, client: FlaskClient, inbox: Inbox) -> None:
    """What isn't refused is at least a duplicate: also for the kinds that sign no time."""
    add(inbox, case)
    headers, body = made(case)
    first = client.post("/webhooks/tried", data=body, headers=headers)
    assert first.status_code == KINDS[case.kind].accepted_status, first.text
    again = client.post("/webhooks/tried", data=body, headers=headers)
    assert (again.status_code, again.headers["X-Event-Status"], again.json) == (200, "DUPLICATE", first.json)


@every_case
def test_every_comparison_is_in_constant_time(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    real = hmac.compare_digest

    def counting(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    headers, body = made(case)
    kind = KINDS[case.kind]
    kind.verify(Request(headers, body, time.time()), [SECRETS[case.kind]], kind.config.model_validate(case.config))
    assert compared
