"""The door: what a sender may send, what it is told, and what is kept."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.db.engine import transaction
from app.errors import Unavailable
from app.models import Outcome
from app.sources import configured
from app.web.factory import create_app
from config.settings import Settings
from tests.support.factories import Inbox, incoming, whsec
from tests.support.standard_posts import body, problem, signed
from tests.support.waiting import wait_until


def post(client: FlaskClient, inbox: Inbox, text: str, message_id: str = "msg_1", **headers: str) -> TestResponse:
    sent = {**signed(inbox.secret, text, message_id), **{name.replace("_", "-"): v for name, v in headers.items()}}
    return client.post("/webhooks/shop", data=text.encode(), headers=sent)


def test_a_signed_event_is_accepted(client: FlaskClient, inbox: Inbox) -> None:
    response = post(client, inbox, body())
    assert response.status_code == 202
    assert response.json is not None
    assert set(response.json) == {"id", "status", "outcome", "lane"}
    assert (response.json["status"], response.json["outcome"], response.json["lane"]) == ("pending", None, "high")
    assert inbox.sql("SELECT external_id FROM event") == [("msg_1",)]


def test_the_same_event_again_is_a_duplicate_with_the_first_ones_body(client: FlaskClient, inbox: Inbox) -> None:
    text = body()
    first, again = post(client, inbox, text), post(client, inbox, text)
    assert (again.status_code, again.headers["X-Event-Status"]) == (200, "DUPLICATE")
    assert again.json == first.json


def test_the_same_key_with_another_body_is_a_conflict(client: FlaskClient, inbox: Inbox) -> None:
    post(client, inbox, body(n=1))
    response = post(client, inbox, body(n=2))
    assert (response.status_code, response.headers["X-Event-Status"]) == (200, "CONFLICT")
    assert inbox.sql("SELECT count(*) FROM event_conflict") == [(1,)]


def test_a_version_in_the_future_is_quarantined(client: FlaskClient, inbox: Inbox) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    response = post(client, inbox, body(updated_at=ahead))
    assert response.status_code == 202
    assert response.json is not None
    assert (response.json["status"], response.json["outcome"]) == ("failed", Outcome.QUARANTINED.name.lower())


def test_an_unknown_source_is_404_whatever_else_is_wrong(client: FlaskClient, inbox: Inbox) -> None:
    response = client.post("/webhooks/nobody", data=b"{", headers={"content-type": "text/plain"})
    assert (response.status_code, problem(response)) == (404, "source-unknown")


def test_a_body_that_is_too_large_is_413(client: FlaskClient, inbox: Inbox, settings: Settings) -> None:
    response = post(client, inbox, " " * (settings.max_body_bytes + 1))
    assert (response.status_code, problem(response)) == (413, "body-too-large")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "text/json", ""])
def test_the_content_type_alone_decides_nothing(client: FlaskClient, inbox: Inbox, content_type: str) -> None:
    response = post(client, inbox, body(), content_type=content_type)
    assert response.status_code == 202
    assert response.json is not None
    assert response.json["status"] == "pending"


def test_a_compressed_body_is_415(client: FlaskClient, inbox: Inbox) -> None:
    response = post(client, inbox, body(), content_encoding="gzip")
    assert (response.status_code, problem(response)) == (415, "content-type-unsupported")
    assert post(client, inbox, body(), content_encoding="identity").status_code == 202


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/vnd.shop+json"])
def test_every_json_content_type_is_json(client: FlaskClient, inbox: Inbox, content_type: str) -> None:
    assert post(client, inbox, body(), content_type=content_type).status_code == 202


def test_a_forged_event_is_401_and_leaves_nothing(client: FlaskClient, inbox: Inbox) -> None:
    response = client.post("/webhooks/shop", data=body().encode(), headers=signed(whsec(), body()))
    assert (response.status_code, problem(response)) == (401, "signature-invalid")
    missing = client.post("/webhooks/shop", data=b"{}", headers={"content-type": "application/json"})
    assert (missing.status_code, problem(missing)) == (401, "signature-missing")
    assert inbox.sql("SELECT count(*) FROM event_key") == [(0,)]


@pytest.mark.parametrize(
    ("text", "event_type", "reason"),
    [
        ("{", "event.unmapped", "The body isn't valid JSON."),
        ("[]", "event.unmapped", "the body must be a JSON object"),
        ('{"type":"a.b","type":"a.b"}', "event.unmapped", "an object has the same key twice"),
        ('{"a":' * 500 + "1" + "}" * 500, "event.unmapped", "the body is nested deeper than 64 levels"),
        (
            '{"type":"price.updated","data":{"id":1e999999999999999999999}}',
            "event.unmapped",
            "a number is out of range",
        ),
        ('{"type":"price.updated","data":{}}', "price.updated", "/data/id (option id_pointer) is missing"),
        (
            '{"type":"price.updated","data":{"id":"a\\u0000b"}}',
            "price.updated",
            "/data/id (option id_pointer) holds control characters",
        ),
        ('{"type":7,"data":{"id":"1"}}', "event.unmapped", "/type must be text"),
        (f'{{"type":"price.updated","data":{{"id":"{"é" * 251}"}}}}', "price.updated", "longer than 500 bytes"),
    ],
)
def test_a_signed_body_that_cannot_be_read_is_kept_unmapped(
    client: FlaskClient, inbox: Inbox, text: str, event_type: str, reason: str
) -> None:
    response = post(client, inbox, text)
    assert response.status_code == 202
    assert response.json is not None
    told = {name: response.json[name] for name in ("status", "outcome", "lane")}
    assert told == {"status": "failed", "outcome": "unmapped", "lane": None}
    ((kind, error, kept),) = inbox.sql(
        "SELECT e.type, e.error, u.body FROM event e JOIN unmapped u ON u.event_id = e.id"
    )
    assert (kind, bytes(kept)) == (event_type, text.encode())
    assert reason in error


def test_other_methods_and_paths_are_problems_too(client: FlaskClient) -> None:
    wrong = client.get("/webhooks/shop")
    assert (wrong.status_code, problem(wrong)) == (405, "method-not-allowed")
    assert "POST" in wrong.headers["Allow"]
    assert problem(client.get("/nothing")) == "not-found"


def test_both_secrets_count_during_a_rotation_at_once_and_the_old_one_ends(client: FlaskClient, inbox: Inbox) -> None:
    assert post(client, inbox, body(), "before").status_code == 202
    new = whsec()
    with transaction(inbox.engine) as session:
        configured.rotate_secret(session, inbox.vault, "shop", new, timedelta(hours=1))
    text = body()
    assert client.post("/webhooks/shop", data=text, headers=signed(new, text, "new")).status_code == 202
    assert post(client, inbox, body(), "old").status_code == 202
    with transaction(inbox.engine) as session:
        configured.rotate_secret(session, inbox.vault, "shop", whsec(), timedelta(0))
    assert post(client, inbox, body(), "ended").status_code == 401


def test_a_source_that_is_added_or_removed_counts_at_once(client: FlaskClient, inbox: Inbox) -> None:
    assert post(client, inbox, body(), "1").status_code == 202
    with transaction(inbox.engine) as session:
        configured.remove(session, "shop")
    assert post(client, inbox, body(), "2").status_code == 404
    with transaction(inbox.engine) as session:
        configured.add(session, inbox.vault, "shop", "standard", inbox.secret, {})
    assert post(client, inbox, body(), "3").status_code == 202


def test_a_disabled_source_is_503_and_one_whose_sender_left_410(client: FlaskClient, inbox: Inbox) -> None:
    with transaction(inbox.engine) as session:
        configured.switch_off(session, "shop")
    response = post(client, inbox, body())
    assert (response.status_code, problem(response)) == (503, "source-disabled")
    assert int(response.headers["Retry-After"]) > 0
    with transaction(inbox.engine) as session:
        source = configured.find(session, "shop")
        source.leaving_since = datetime.now(UTC)
        configured._changed(source)
    response = post(client, inbox, body())
    assert (response.status_code, problem(response)) == (410, "source-left")
    with transaction(inbox.engine) as session:
        configured.enable(session, "shop")
    assert post(client, inbox, body()).status_code == 202


def test_requests_in_flight_share_commits_and_each_gets_its_own_answer(flask_app: Flask, inbox: Inbox) -> None:
    answers: list[TestResponse] = []

    def send(number: int) -> None:
        answers.append(post(flask_app.test_client(), inbox, body(n=number), f"msg_{number}"))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [202] * 40
    assert len({answer.json["id"] for answer in answers if answer.json}) == 40
    commits = inbox.sql("SELECT count(DISTINCT xmin::text) FROM event")[0][0]
    assert commits < 40


def test_a_broker_that_is_away_slows_and_fails_nothing(settings: Settings, inbox: Inbox) -> None:
    away = settings.model_copy(update={"broker_url": "amqp://127.0.0.1:1//"})
    made = create_app(away)
    assert post(made.test_client(), inbox, body()).status_code == 202
    wait_until(lambda: inbox.sql("SELECT dispatched_at FROM event") == [(None,)])
    assert post(made.test_client(), inbox, body(), "msg_2").status_code == 202
    made.extensions["receiver"].close()
    assert inbox.sql("SELECT count(*) FROM event WHERE dispatched_at IS NULL") == [(2,)]


def test_a_database_that_is_away_is_503_with_retry_after(settings: Settings, inbox: Inbox) -> None:
    away = settings.model_copy(update={"database_url": "postgresql+psycopg2://127.0.0.1:1/none"})
    made = create_app(away)
    response = post(made.test_client(), inbox, body())
    assert (response.status_code, problem(response)) == (503, "unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert made.test_client().get("/readyz").status_code == 503
    assert made.test_client().get("/livez").status_code == 200
    made.extensions["receiver"].close()


def test_a_database_that_hangs_is_503_and_known_sources_go_on_afterwards(client: FlaskClient, inbox: Inbox) -> None:
    assert post(client, inbox, body(), "1").status_code == 202
    with inbox.engine.begin() as holder:
        holder.exec_driver_sql("LOCK TABLE event IN ACCESS EXCLUSIVE MODE")
        hung = post(client, inbox, body(), "2")
    assert (hung.status_code, problem(hung)) == (503, "unavailable")
    wait_until(lambda: post(client, inbox, body(), f"msg {time.monotonic()}").status_code == 202)


def test_readyz_says_what_is_missing(client: FlaskClient, inbox: Inbox) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json is not None
    assert response.json["status"] == "degraded"
    assert response.json["checks"]["database"] == "ok"
    assert response.json["checks"]["dispatcher"] == "unavailable"
    inbox.sql("UPDATE lane SET dispatcher_seen_at = clock_timestamp(), workers = 1")
    response = client.get("/readyz")
    assert response.json is not None
    assert response.json["status"] == "ok"


def test_an_unexpected_failure_tells_a_stranger_nothing(flask_app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("a secret inside")

    monkeypatch.setattr(flask_app.extensions["receiver"].endpoints, "refresh", broken)
    response = flask_app.test_client().get("/readyz")
    assert (response.status_code, problem(response)) == (500, "internal-error")
    assert "secret" not in response.text


def test_a_receiver_that_is_closed_takes_nothing_more(flask_app: Flask, inbox: Inbox) -> None:
    receiver = flask_app.extensions["receiver"]
    receiver._singles.close()
    with pytest.raises(Unavailable):
        receiver._store([inbox.prepared(incoming())])
