"""The door, for what only some kinds have: batches, handshakes, fetched keys, statuses of their own."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.db.engine import transaction
from app.errors import Unavailable
from app.inbox.store import StoreResult
from app.sources import configured
from app.sources.kinds import KINDS
from app.sources.kinds.kind import Outgoing
from app.web.factory import create_app
from app.web.webhooks.vendor_keys import KeyRing, Keys
from config.settings import Settings
from tests.support.factories import Inbox, incoming
from tests.support.waiting import wait_until

SECRET = "a long enough secret"
CLOUD = {"content-type": "application/cloudevents-batch+json", "authorization": f"Bearer {SECRET}"}
PATH = "/prod/keys/pub-key-one.pem"


class Host:
    """The one host that keys come from; ``answers`` by path: a status and a body."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.held = threading.Event()
        self.held.set()
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append(self.path)
                host.held.wait(20)
                status, body = host.answers.get(self.path, (404, b"no"))
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.held.set()
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def flask_app(settings: Settings, inbox: Inbox, host: Host) -> Iterator[Flask]:
    made = create_app(settings.model_copy(update={"adobe_keys_url": host.url, "store_timeout_s": 20.0}))
    yield made
    made.extensions["receiver"].close()


def add(inbox: Inbox, kind: str, secret: str = SECRET, **config: object) -> None:
    with transaction(inbox.engine) as session:
        configured.add(session, inbox.vault, kind, kind, secret, config)


def problem(response: TestResponse) -> tuple[int, str]:
    assert response.json is not None, response.text
    return response.status_code, str(response.json["type"]).rpartition("#")[2]


def cloudevent(number: int, **more: object) -> dict[str, object]:
    event = {
        "specversion": "1.0",
        "id": str(number),
        "source": "/s",
        "type": "price.updated",
        "subject": f"sku-{number}",
    }
    return {**event, "data": {"amount": "1"}, **more}


def pem(key: RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def adobe(client: FlaskClient, key: RSAPrivateKey, path: str = PATH, recipient: str = "us") -> TestResponse:
    return adobe_sends(client, key, adobe_event("e-1", recipient), path)


def adobe_event(key: str, recipient: str = "us", sku: str = "s-1") -> dict[str, Any]:
    value = {"sku": sku, "updated_at": "2026-01-01 00:00:00"}
    code = "com.adobe.commerce.observer.catalog_product_save_commit_after"
    return {"type": code, "id": key, "recipientclientid": recipient, "data": {"value": value}}


def adobe_sends(client: FlaskClient, key: RSAPrivateKey, told: Any, path: str = PATH) -> TestResponse:
    body = json.dumps(told).encode()
    headers = {
        "content-type": "application/json",
        "x-adobe-digital-signature-1": base64.b64encode(key.sign(body, PKCS1v15(), SHA256())).decode(),
        "x-adobe-public-key1-path": path,
    }
    return client.post("/webhooks/adobe-io", data=body, headers=headers)


def test_a_batch_is_answered_in_its_order_with_what_is_new_and_what_is_known(
    client: FlaskClient, inbox: Inbox
) -> None:
    add(inbox, "cloudevents")
    events = [cloudevent(2), cloudevent(1), cloudevent(2)]
    first = client.post("/webhooks/cloudevents", data=json.dumps(events), headers=CLOUD)
    assert first.status_code == 202
    assert first.json is not None
    assert {name: first.json[name] for name in ("accepted", "duplicates", "conflicts")} == {
        "accepted": 2,
        "duplicates": 1,
        "conflicts": 0,
    }
    two, one, again = first.json["events"]
    assert two["id"] == again["id"] != one["id"]
    assert [event["kept"] for event in first.json["events"]] == ["new", "new", "duplicate"]
    assert (one["status"], one["outcome"], one["lane"]) == ("pending", None, "high")
    assert inbox.sql("SELECT entity_id FROM event WHERE id = :id", id=one["id"]) == [("sku-1",)]
    other = client.post(
        "/webhooks/cloudevents", data=json.dumps([cloudevent(1, data={}), cloudevent(3)]), headers=CLOUD
    )
    assert other.json is not None
    assert [event["kept"] for event in other.json["events"]] == ["conflict", "new"]


@pytest.mark.parametrize(
    ("events", "outcomes"),
    [
        ([cloudevent(1), {"specversion": "1.0"}, cloudevent(3)], [None, "unmapped", None]),
        ([cloudevent(1), 7], [None, "unmapped"]),
        ([], []),
    ],
)
def test_of_a_batch_only_the_event_that_cannot_be_read_is_unmapped(
    client: FlaskClient, inbox: Inbox, events: object, outcomes: list[str | None]
) -> None:
    add(inbox, "cloudevents")
    answer = client.post("/webhooks/cloudevents", data=json.dumps(events), headers=CLOUD)
    assert answer.status_code == 202
    assert answer.json is not None
    assert [event["outcome"] for event in answer.json["events"]] == outcomes
    assert answer.json["accepted"] == len(outcomes)


def test_a_batch_that_is_none_is_unmapped_as_a_whole_and_one_that_is_too_large_refused(
    client: FlaskClient, inbox: Inbox
) -> None:
    add(inbox, "cloudevents")
    answer = client.post("/webhooks/cloudevents", data=b"{}", headers=CLOUD)
    assert (answer.status_code, answer.json and answer.json["outcome"]) == (202, "unmapped")
    many = json.dumps([cloudevent(number) for number in range(501)])
    assert problem(client.post("/webhooks/cloudevents", data=many, headers=CLOUD)) == (413, "body-too-large")


def test_a_batch_that_the_database_refuses_leaves_nothing(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "cloudevents")
    inbox.sql("ALTER TABLE event ADD CONSTRAINT no_sku_3 CHECK (entity_id <> 'sku-3') NOT VALID")
    try:
        events = [cloudevent(number) for number in range(5)]
        response = client.post("/webhooks/cloudevents", data=json.dumps(events), headers=CLOUD)
    finally:
        inbox.sql("ALTER TABLE event DROP CONSTRAINT no_sku_3")
    assert response.status_code >= 500
    assert inbox.sql("SELECT count(*) FROM event_key") == [(0,)]
    assert inbox.sql("SELECT count(*) FROM event") == [(0,)]


def test_events_that_need_each_others_keys_are_stored_one_by_one(flask_app: Flask, inbox: Inbox) -> None:
    second = replace(incoming(data={"n": 2}), external_id="one", content_key="content 2")
    wanted = [replace(second, external_id="two"), second, replace(incoming(), external_id="one")]
    prepared = [inbox.prepared(event) for event in wanted]
    ids = sorted((event.id for event in prepared), reverse=True)
    entangled = [replace(event, id=event_id) for event, event_id in zip(prepared, ids, strict=True)]
    stored = flask_app.extensions["receiver"]._store_group(inbox.engine, entangled, time.monotonic() + 20)
    assert [one.kept for one in stored] == [StoreResult.NEW, StoreResult.DUPLICATE, StoreResult.CONFLICT]


def test_a_source_that_changes_while_they_are_stored_one_by_one_leaves_none(flask_app: Flask, inbox: Inbox) -> None:
    good = inbox.prepared(incoming())
    changed = replace(inbox.prepared(incoming()), revision=good.revision + 1)
    with pytest.raises(Unavailable, match="being changed"):
        flask_app.extensions["receiver"]._store_singly(inbox.engine, [good, changed], time.monotonic() + 20)
    assert inbox.sql("SELECT count(*) FROM event_key") == [(0,)]


def test_a_full_batch_repeated_is_all_duplicates_and_batches_at_once_do_not_mix(
    flask_app: Flask, inbox: Inbox
) -> None:
    add(inbox, "cloudevents")
    bodies = [json.dumps([cloudevent(n, source=f"/{batch}") for n in range(500)]) for batch in range(2)]
    answers: list[Any] = []

    def send(body: str) -> None:
        answers.append(flask_app.test_client().post("/webhooks/cloudevents", data=body, headers=CLOUD).json)

    threads = [threading.Thread(target=send, args=(body,)) for body in (*bodies, *bodies)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((answer["accepted"], answer["duplicates"]) for answer in answers) == [(0, 500)] * 2 + [(500, 0)] * 2


def test_lines_are_events_each_with_a_key_of_its_own(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "hmac", key_header="x-key")
    lines = [json.dumps({"type": "price.resynced", "data": {"id": str(number)}}) for number in range(3)]
    body = ("\n".join(lines) + "\r\n\n").encode()
    config = configured.check_config(KINDS["hmac"], {"key_header": "x-key"})
    headers = KINDS["hmac"].sign(Outgoing("sync-1", "", body, time.time()), SECRET, config)
    for accepted, content_type in ((3, "application/x-ndjson"), (0, "application/jsonl; charset=utf-8")):
        answer = client.post("/webhooks/hmac", data=body, headers={**headers, "content-type": content_type})
        assert answer.status_code == 202
        assert answer.json is not None
        assert (answer.json["accepted"], answer.json["duplicates"]) == (accepted, 3 - accepted)
    keys = inbox.sql("SELECT external_id, lane FROM event ORDER BY id")
    assert keys == [("sync-1.1", 2), ("sync-1.2", 2), ("sync-1.3", 2)]


def test_cloudevents_handshake_names_who_asked_and_how_much(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "cloudevents", origins=["shop.example"], rate_per_minute=120)
    headers = {"WebHook-Request-Origin": "shop.example", "WebHook-Request-Rate": "500"}
    answer = client.options("/webhooks/cloudevents", headers=headers)
    assert answer.status_code == 200
    told = {name: answer.headers[name] for name in ("Allow", "WebHook-Allowed-Origin", "WebHook-Allowed-Rate")}
    assert told == {"Allow": "POST", "WebHook-Allowed-Origin": "shop.example", "WebHook-Allowed-Rate": "120"}
    stranger = client.options("/webhooks/cloudevents", headers={"WebHook-Request-Origin": "evil.example"})
    assert problem(stranger) == (400, "field-invalid")
    assert problem(client.options("/webhooks/cloudevents")) == (405, "method-not-allowed")


def test_a_handshake_without_named_origins_allows_any_that_is_one(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "cloudevents")
    answer = client.options("/webhooks/cloudevents", headers={"WebHook-Request-Origin": "any.example:8443"})
    assert (answer.headers["WebHook-Allowed-Origin"], answer.headers["WebHook-Allowed-Rate"]) == (
        "any.example:8443",
        "*",
    )
    strange = client.options("/webhooks/cloudevents", headers={"WebHook-Request-Origin": "<script>"})
    assert strange.status_code == 400


def test_adobes_challenge_comes_back_as_text(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "adobe-io")
    answer = client.get("/webhooks/adobe-io?challenge=8ec8d794-e0ab-42df")
    assert (answer.status_code, answer.text, answer.mimetype) == (200, "8ec8d794-e0ab-42df", "text/plain")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for query in ("", "?challenge=", "?challenge=" + "a" * 300, "?challenge=a%0d%0ab"):
        assert problem(client.get("/webhooks/adobe-io" + query)) == (405, "method-not-allowed")
    assert client.get("/webhooks/shop?challenge=x").status_code == 405
    assert client.get("/webhooks/nobody?challenge=x").status_code == 404


def test_an_address_that_adobe_posts_is_never_fetched(client: FlaskClient, inbox: Inbox, host: Host) -> None:
    add(inbox, "adobe-io")
    body = json.dumps({"validationUrl": f"{host.url}/validate"})
    answer = client.post("/webhooks/adobe-io", data=body, headers={"content-type": "application/json"})
    assert problem(answer) == (401, "signature-missing")
    assert host.asked == []


def test_bigcommerce_is_told_200(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "bigcommerce")
    body = b'{"scope":"store/product/updated","data":{"id":1},"created_at":1761000000}'
    headers = KINDS["bigcommerce"].sign(Outgoing("m-1", "", body, time.time()), SECRET, None)
    answer = client.post("/webhooks/bigcommerce", data=body, headers={**headers, "content-type": "application/json"})
    assert (answer.status_code, "X-Event-Status" in answer.headers) == (200, False)


def test_shopifys_body_under_other_headers_is_known(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "shopify")
    body = b'{"id":9007199254740993,"title":"T","updated_at":"2026-01-01T00:00:00Z"}'
    base = KINDS["shopify"].sign(
        Outgoing("w-1", "product.updated", body, time.time()), SECRET, KINDS["shopify"].config()
    )
    first = client.post("/webhooks/shopify", data=body, headers={**base, "content-type": "application/json"})
    assert first.status_code == 202
    for changed in (
        {"x-shopify-webhook-id": "w-2"},
        {"x-shopify-webhook-id": "w-3", "x-shopify-event-id": "e-3", "x-shopify-triggered-at": "2026-01-02T00:00:00Z"},
        {"x-shopify-webhook-id": "w-4", "x-shopify-topic": "products/create"},
    ):
        again = client.post(
            "/webhooks/shopify", data=body, headers={**base, **changed, "content-type": "application/json"}
        )
        assert again.headers.get("X-Event-Status") == "DUPLICATE", changed
        assert again.json == first.json
    paid = {"x-shopify-webhook-id": "w-5", "x-shopify-topic": "products/delete"}
    contradiction = client.post(
        "/webhooks/shopify", data=body, headers={**base, **paid, "content-type": "application/json"}
    )
    assert (contradiction.status_code, contradiction.json and contradiction.json["outcome"]) == (202, "unmapped")
    assert inbox.sql("SELECT entity_id FROM event WHERE status = 0") == [("9007199254740993",)]


@pytest.mark.parametrize("topic", ["orders/paid", "order/paid", "order.paid"])
def test_a_fact_of_shopifys_is_known_however_its_topic_is_written(
    client: FlaskClient, inbox: Inbox, topic: str
) -> None:
    add(inbox, "shopify")
    body = b'{"id":7,"total_price":"9.90","updated_at":"2026-01-01T00:00:00Z"}'
    signed = KINDS["shopify"].sign(Outgoing("w-1", "order.paid", body, time.time()), SECRET, KINDS["shopify"].config())
    headers = {**signed, "content-type": "application/json"}
    assert client.post("/webhooks/shopify", data=body, headers=headers).status_code == 202
    changed = {"x-shopify-webhook-id": "w-2", "x-shopify-event-id": "e-2", "x-shopify-topic": topic}
    again = client.post("/webhooks/shopify", data=body, headers={**headers, **changed})
    assert again.headers.get("X-Event-Status") == "DUPLICATE"


def test_a_disabled_source_that_would_lose_its_events_is_503(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "adobe-io")
    inbox.sql(
        "UPDATE source SET enabled = false, revision = 2, updated_at = clock_timestamp() WHERE name = 'adobe-io'"
    )
    headers = {"content-type": "application/json", "x-adobe-signature": "x"}
    answer = client.post("/webhooks/adobe-io", data=b"{}", headers=headers)
    assert problem(answer) == (503, "source-disabled")
    assert int(answer.headers["Retry-After"]) > 0
    inbox.sql("UPDATE source SET enabled = true, secrets = '[]', revision = 3, updated_at = clock_timestamp()")
    assert problem(client.post("/webhooks/adobe-io", data=b"{}", headers=headers)) == (503, "source-not-ready")


def test_a_key_is_fetched_once_from_the_one_host(
    client: FlaskClient, inbox: Inbox, host: Host, key: RSAPrivateKey
) -> None:
    add(inbox, "adobe-io", client_id="us")
    host.answers[PATH] = (200, pem(key))
    assert adobe(client, key).status_code == 202
    assert adobe(client, key).headers["X-Event-Status"] == "DUPLICATE"
    assert host.asked == [PATH]
    assert problem(adobe(client, key, recipient="them")) == (401, "recipient-wrong")
    other = generate_private_key(public_exponent=65537, key_size=2048)
    assert problem(adobe(client, other)) == (401, "signature-invalid")
    for path in (f"{host.url}/evil.pem", "/prod/keys/../../etc/pub-key-x.pem", "//evil.example" + PATH, PATH + "?x"):
        assert problem(adobe(client, key, path)) == (401, "signature-invalid")
    assert host.asked == [PATH]


def test_a_batch_of_adobes_is_taken_apart_or_refused_whole_where_one_event_is_for_somebody_else(
    client: FlaskClient, inbox: Inbox, host: Host, key: RSAPrivateKey
) -> None:
    add(inbox, "adobe-io", client_id="us")
    host.answers[PATH] = (200, pem(key))
    mixed = [adobe_event("e-1"), adobe_event("e-2", "them")]
    assert problem(adobe_sends(client, key, mixed)) == (401, "recipient-wrong")
    assert inbox.sql("SELECT count(*) FROM event") == [(0,)]
    nameless = {**adobe_event("e-3"), "data": {"value": {"name": "no SKU was chosen"}}}
    answer = adobe_sends(client, key, [adobe_event("e-1"), nameless, adobe_event("e-2", sku="s-2")])
    assert answer.status_code == 202
    assert [event["outcome"] for event in answer.get_json()["events"]] == [None, "unmapped", None]
    assert inbox.sql("SELECT entity_id FROM event WHERE outcome IS NULL ORDER BY 1") == [("s-1",), ("s-2",)]


def test_a_key_that_is_not_there_refuses_and_is_not_asked_for_again(
    client: FlaskClient, inbox: Inbox, host: Host, key: RSAPrivateKey
) -> None:
    add(inbox, "adobe-io", client_id="us")
    for _ in range(3):
        assert problem(adobe(client, key)) == (401, "signature-invalid")
    assert host.asked == [PATH]


@pytest.mark.parametrize("answer", [(500, b""), (302, b""), (429, b""), (200, b"<html>"), (200, b"x" * 20_000)])
def test_a_key_that_cannot_be_had_now_is_503(
    client: FlaskClient, inbox: Inbox, host: Host, key: RSAPrivateKey, answer: tuple[int, bytes]
) -> None:
    add(inbox, "adobe-io", client_id="us")
    host.answers[PATH] = answer
    assert problem(adobe(client, key)) == (503, "unavailable")
    assert problem(adobe(client, key)) == (503, "unavailable")
    assert host.asked == [PATH] * len(host.asked)
    assert len(host.asked) <= 2  # a failure is believed for a moment


def test_a_request_waits_for_a_slow_key_no_longer_than_its_bound(host: Host, key: RSAPrivateKey) -> None:
    ring = KeyRing(host.url, wait_s=0.01)
    host.answers[PATH] = (200, pem(key))
    host.held.clear()
    assert ring.get([PATH]) == Keys({}, complete=False)
    host.held.set()
    wait_until(lambda: ring.get([PATH]) == Keys({PATH: pem(key)}, complete=True))
    ring.close()


def test_a_key_ring_is_bounded_and_a_host_that_is_away_is_not_asked_at_once_again(key: RSAPrivateKey) -> None:
    ring = KeyRing("http://127.0.0.1:1", wait_s=5)
    assert not ring.get(["/prod/keys/pub-key-a.pem"]).complete
    assert not ring.get(["/prod/keys/pub-key-b.pem"]).complete
    ring.close()
    from app.web.webhooks import vendor_keys  # noqa: PLC0415  # its private parts

    for number in range(vendor_keys._MOST_KEYS + 5):
        ring._put(f"/{number}", vendor_keys._Entry(pem(key), time.monotonic()))
    for number in range(vendor_keys._MOST_ABSENT + 5):
        ring._put(f"/{number}", vendor_keys._Entry(None, time.monotonic()))
    assert (len(ring._keys), len(ring._absent)) == (vendor_keys._MOST_KEYS, vendor_keys._MOST_ABSENT)


def test_a_key_in_use_is_renewed_and_one_past_its_day_is_forgotten(host: Host, key: RSAPrivateKey) -> None:
    from app.web.webhooks import vendor_keys  # noqa: PLC0415  # its private parts

    ring = KeyRing(host.url, wait_s=5)
    ring._put("/old", vendor_keys._Entry(pem(key), time.monotonic() - vendor_keys._KEEP_S - 1))
    assert ring.get(["/old"]).found == {}
    host.answers["/used"] = (200, pem(key))
    host.held.clear()
    ring._put("/used", vendor_keys._Entry(pem(key), time.monotonic() - vendor_keys._RENEW_S - 1))
    assert ring.get(["/used"]).found == {"/used": pem(key)}
    host.held.set()
    ring.close()
