"""Unmapped events: kept as they came, taught by an option, released through the keys and gates of today."""

import json
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from app.cli.release import mappers
from app.db.engine import transaction
from app.errors import Busy
from app.inbox import release
from app.inbox.read import EventFilter
from app.inbox.release import NotHeld, Released
from app.inbox.replay import NotReplayable, replay
from app.inbox.replays import forecast
from app.models import Outcome
from app.privacy import erase
from app.sources import configured
from app.sources.kinds import KINDS
from app.sources.kinds.kind import Outgoing
from config.settings import Settings
from tests.support.cli_run import from_json, ok, run
from tests.support.factories import SKEW_S, Inbox

SECRET = "it's a secret to everybody"
RULE = {
    "type": "survey.*",
    "entity_type": "survey_answer",
    "id": "/response",
    "version": "/at",
    "data": "/answers",
}


def add(inbox: Inbox, name: str, kind: str, **options: Any) -> None:
    with transaction(inbox.engine) as session:
        configured.add(session, inbox.vault, name, kind, SECRET, options)


def post(client: FlaskClient, name: str, kind: str, body: bytes, key: str = "k-1", **headers: str) -> TestResponse:
    config = KINDS[kind].config()
    signed = KINDS[kind].sign(Outgoing(key, "x.updated", body, time.time()), SECRET, config)
    told = {header.replace("_", "-"): value for header, value in headers.items()}
    return client.post(f"/webhooks/{name}", data=body, headers={"content-type": "application/json", **signed, **told})


def survey(number: int = 1, **more: Any) -> bytes:
    at = datetime.now(UTC).isoformat()
    return json.dumps(
        {"type": "survey.answered", "response": number, "at": at, "answers": {"score": 9}, **more}
    ).encode()


def teach(inbox: Inbox, name: str, **options: Any) -> None:
    with transaction(inbox.engine) as session:
        configured.configure(session, name, options)


def let_go(inbox: Inbox, settings: Settings, event_id: uuid.UUID, *, dry_run: bool = False) -> Released:
    with transaction(inbox.engine) as session:
        return release.release(
            session, event_id, mappers(session, settings), by="a test", skew_s=SKEW_S, dry_run=dry_run
        )


def held(inbox: Inbox) -> list[uuid.UUID]:
    return [row[0] for row in inbox.sql("SELECT id FROM event WHERE outcome = 9 ORDER BY id")]


def test_an_unmapped_event_is_taught_and_released_with_its_own_version_and_arrival(
    client: FlaskClient, inbox: Inbox, settings: Settings
) -> None:
    add(inbox, "poll", "hmac", id_pointer="/nowhere")
    assert post(client, "poll", "hmac", survey()).json == {
        "id": str(held(inbox)[0]),
        "status": "failed",
        "outcome": "unmapped",
        "lane": None,
    }
    (event_id,) = held(inbox)
    still = let_go(inbox, settings, event_id)
    assert (still.becomes, still.detail) == ("unmapped", "/nowhere (option id_pointer) is missing")
    ((arrived,),) = inbox.sql("SELECT received_at FROM event")
    teach(inbox, "poll", mapping=[RULE])
    assert let_go(inbox, settings, event_id, dry_run=True).becomes == "pending"
    assert held(inbox) == [event_id]
    assert let_go(inbox, settings, event_id).becomes == "pending"
    event = inbox.event(event_id)
    assert (event.entity_type, event.entity_id, event.type) == ("survey_answer", "1", "survey.answered")
    assert (event.status, event.outcome, event.error, event.received_at) == (0, None, None, arrived)
    assert event.version_text is not None
    assert [entry["step"] for entry in event.history] == ["released"]
    assert inbox.sql("SELECT count(*) FROM unmapped") == [(0,)]
    again = post(client, "poll", "hmac", json.dumps(json.loads(event.payload)).encode())
    assert again.status_code == 202  # another text is another delivery for a kind whose key is the body's hash


def test_the_same_delivery_after_its_release_is_a_duplicate(
    client: FlaskClient, inbox: Inbox, settings: Settings
) -> None:
    add(inbox, "poll", "hmac", id_pointer="/nowhere")
    body = survey()
    post(client, "poll", "hmac", body)
    assert post(client, "poll", "hmac", body).headers["X-Event-Status"] == "DUPLICATE"
    teach(inbox, "poll", mapping=[RULE])
    let_go(inbox, settings, held(inbox)[0])
    again = post(client, "poll", "hmac", body)
    assert (again.status_code, again.headers["X-Event-Status"]) == (200, "DUPLICATE")


def test_a_release_whose_key_another_event_has_ends_as_its_duplicate(
    client: FlaskClient, inbox: Inbox, settings: Settings
) -> None:
    add(inbox, "poll", "hmac", id_pointer="/nowhere")
    body = survey()
    post(client, "poll", "hmac", body)
    teach(inbox, "poll", mapping=[RULE])
    client.application.extensions["receiver"].endpoints.refresh()
    new = post(client, "poll", "hmac", body)  # sent again, now that it can be read
    assert (new.status_code, new.json and new.json["status"]) == (202, "pending")
    (event_id,) = held(inbox)
    assert let_go(inbox, settings, event_id, dry_run=True).becomes == "duplicate"
    assert held(inbox) == [event_id]
    assert let_go(inbox, settings, event_id).becomes == "duplicate"
    event = inbox.event(event_id)
    assert (event.status, event.outcome) == (2, Outcome.DUPLICATE)
    assert new.json is not None
    assert event.history[-1]["duplicate of"] == new.json["id"]


def test_a_release_that_fails_leaves_the_new_reason_on_the_event_once(
    client: FlaskClient, inbox: Inbox, settings: Settings
) -> None:
    add(inbox, "poll", "hmac", id_pointer="/nowhere")
    post(client, "poll", "hmac", survey(), **{"x-github-event": "survey"})
    (event_id,) = held(inbox)
    teach(inbox, "poll", mapping=[{**RULE, "id": "/elsewhere"}])
    before = inbox.event(event_id)
    assert let_go(inbox, settings, event_id, dry_run=True).detail == "/elsewhere is missing"
    assert inbox.event(event_id).history == before.history
    for _ in range(2):
        assert let_go(inbox, settings, event_id).becomes == "unmapped"
        event = inbox.event(event_id)
        assert (event.error, event.outcome) == ("/elsewhere is missing", Outcome.UNMAPPED)
        assert len(event.history) == len(before.history) + 1
    shown = from_json("events", "show", str(event_id))
    assert shown["headers"]["x-github-event"] == "survey"
    assert shown["timeline"][-1]["step"] == "release failed"


def test_a_body_of_several_entities_is_released_as_several_events(
    client: FlaskClient, inbox: Inbox, settings: Settings
) -> None:
    add(inbox, "poll", "hmac", id_pointer="/nowhere")
    post(client, "poll", "hmac", survey(answers=[{"id": 1}, {"id": 2}]))
    teach(inbox, "poll", mapping=[{"type": "survey.*", "each": "/answers", "id": "/id", "entity_type": "answer"}])
    (event_id,) = held(inbox)
    released = let_go(inbox, settings, event_id)
    assert (released.becomes, len(released.events), released.events[0]) == ("pending", 2, event_id)
    assert inbox.sql("SELECT entity_id, status, dispatched_at FROM event ORDER BY entity_id") == [
        ("1", 0, None),
        ("2", 0, None),
    ]
    assert inbox.sql("SELECT count(DISTINCT external_id) FROM event") == [(2,)]


def test_of_several_entities_all_are_released_or_none(client: FlaskClient, inbox: Inbox, settings: Settings) -> None:
    add(inbox, "poll", "hmac", id_pointer="/nowhere")
    post(client, "poll", "hmac", survey(answers=[{"id": 1}, {"id": 2}]))
    teach(inbox, "poll", mapping=[{"type": "survey.*", "each": "/answers", "id": "/id", "entity_type": "answer"}])
    with transaction(inbox.engine) as session:
        configured.remove(session, "poll")
    (event_id,) = held(inbox)
    said = let_go(inbox, settings, event_id)
    assert (said.becomes, said.events) == ("unmapped", ())
    assert "is removed" in said.detail
    assert inbox.sql("SELECT count(*) FROM event") == [(1,)]
    assert inbox.sql("SELECT count(*) FROM unmapped") == [(1,)]


def test_a_release_holds_the_options_that_it_maps_by(inbox: Inbox, settings: Settings) -> None:
    add(inbox, "poll", "hmac")
    ((source_id,),) = inbox.sql("SELECT id FROM source WHERE name = 'poll'")
    with transaction(inbox.engine) as session:
        mappers(session, settings)(source_id)
        with pytest.raises(Busy, match="lock timeout"), transaction(inbox.engine) as other:
            other.execute(text("SET LOCAL lock_timeout = '100ms'"))
            configured.configure(other, "poll", {"id_pointer": "/x"})


@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson"])
def test_what_describes_too_many_entities_is_unmapped_and_the_rest_of_its_batch_is_not(
    client: FlaskClient, inbox: Inbox, content_type: str
) -> None:
    add(inbox, "poll", "hmac", mapping=[{"type": "list", "each": "/all", "entity_type": "item", "id": "/id"}])
    lists = [{"type": "list", "all": [{"id": str(n), "list": k} for n in range(200)]} for k in range(4)]
    parts = [json.dumps(one) for one in lists]
    body = "\n".join(parts) if "ndjson" in content_type else f"[{','.join(parts)}]"
    answer = post(client, "poll", "hmac", body.encode(), content_type=content_type)
    assert answer.status_code == 202
    assert inbox.sql("SELECT count(*), outcome FROM event GROUP BY 2 ORDER BY 2") == [(2, 9), (400, None)]


def test_a_whole_list_of_vendors_entities_is_stored_and_each_keeps_only_its_own(
    client: FlaskClient, inbox: Inbox
) -> None:
    add(inbox, "big", "bigcommerce")
    records = [
        {"price_list_id": 1, "variant_id": 10_000 + n, "currency": "USD", "price": 12.5, "note": "x" * 1_000}
        for n in range(500)
    ]
    body = {"scope": "store/priceList/records/updated", "data": records, "created_at": int(time.time()), "hash": "h"}
    assert post(client, "big", "bigcommerce", json.dumps(body).encode()).status_code == 200
    assert inbox.sql("SELECT count(*), max(length(payload)) < 2000 FROM event WHERE outcome IS NULL") == [(500, True)]


def test_what_would_take_too_much_is_unmapped(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "poll", "hmac", mapping=[{"type": "list", "each": "/all", "entity_type": "item", "id": "/id"}])
    body = {"type": "list", "note": "x" * 100_000, "all": [{"id": str(n)} for n in range(100)]}
    answer = post(client, "poll", "hmac", json.dumps(body).encode())
    assert (answer.status_code, answer.json and answer.json["outcome"]) == (202, "unmapped")


def test_lists_in_lists_stop_no_release(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "poll", "hmac", id_pointer="/nowhere")
    post(client, "poll", "hmac", json.dumps([[1] * 501]).encode())
    post(client, "poll", "hmac", json.dumps([[1, 2]]).encode())
    post(client, "poll", "hmac", survey())
    teach(inbox, "poll", mapping=[RULE])
    ok("events", "release", "--outcome", "unmapped", "--source", "poll", "--yes")
    assert len(held(inbox)) == 2
    assert inbox.sql("SELECT entity_type FROM event WHERE status = 0") == [("survey_answer",)]


def test_another_content_under_a_released_ones_key_is_kept_for_a_person(
    client: FlaskClient, inbox: Inbox, settings: Settings
) -> None:
    add(inbox, "poll", "hmac", id_pointer="/nowhere", key_pointer="/id")
    post(client, "poll", "hmac", survey(1, id="k"))
    post(client, "poll", "hmac", survey(2, id="k"))
    first, second = held(inbox)
    assert inbox.sql("SELECT count(*) FROM event_conflict") == [(0,)]
    teach(inbox, "poll", mapping=[RULE])
    assert let_go(inbox, settings, first).becomes == "pending"
    said = let_go(inbox, settings, second)
    assert (said.becomes, said.detail) == ("unmapped", f"another event has its key, and another content: {first}")
    assert inbox.event(second).error == said.detail
    assert held(inbox) == [second]


def test_one_signed_body_is_one_row_under_any_headers_that_are_not_signed(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "hub", "hmac")
    add(inbox, "store", "shopify")
    for number in range(3):
        post(client, "hub", "hmac", b"no json", x_github_delivery=f"d-{number}", x_github_event=f"e{number}")
        post(client, "store", "shopify", b'{"id": 1}', x_shopify_webhook_id="x" * (600 + number))
    assert inbox.sql("SELECT count(*), outcome FROM event GROUP BY 2") == [(2, 9)]


def test_what_a_release_ended_says_nothing_and_is_not_replayed(
    client: FlaskClient, inbox: Inbox, settings: Settings
) -> None:
    add(inbox, "poll", "hmac", id_pointer="/nowhere")
    post(client, "poll", "hmac", survey())
    (event_id,) = held(inbox)
    teach(inbox, "poll", mapping={"survey.*": "ignore"})
    let_go(inbox, settings, event_id)
    with transaction(inbox.engine) as session:
        with pytest.raises(NotReplayable, match="is ignored"):
            replay(session, event_id)
        assert forecast(session, EventFilter(source="poll")).count == 0


def test_a_long_header_keeps_its_meaning_until_the_release(
    client: FlaskClient, inbox: Inbox, settings: Settings
) -> None:
    add(inbox, "tap", "cloudevents", auth="bearer")
    subject = "%E4%B8%AD" * 300
    headers = {"ce-id": "1", "ce-source": "/x", "ce-type": "a.b", "ce-subject": subject, "ce-tokenid": "t"}
    answer = client.post("/webhooks/tap", data=b"{}", headers={"authorization": f"Bearer {SECRET}", **headers})
    assert answer.json is not None
    assert answer.json["outcome"] == "unmapped"
    ((kept,),) = inbox.sql("SELECT headers FROM unmapped")
    assert (kept["ce-subject"], kept["ce-tokenid"]) == (subject, "t")


def test_a_rule_that_ignores_ends_the_event_and_stores_no_more_of_its_like(
    client: FlaskClient, inbox: Inbox, settings: Settings
) -> None:
    add(inbox, "poll", "hmac", id_pointer="/nowhere")
    post(client, "poll", "hmac", survey())
    teach(inbox, "poll", mapping={"survey.*": "ignore"})
    assert let_go(inbox, settings, held(inbox)[0]).becomes == "unchanged"
    client.application.extensions["receiver"].endpoints.refresh()
    answer = post(client, "poll", "hmac", survey(2))
    assert (answer.status_code, answer.json and answer.json["accepted"]) == (202, 0)
    assert inbox.sql("SELECT count(*) FROM event") == [(1,)]


def test_bytes_that_are_no_text_are_kept_to_the_byte_but_for_the_secret(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "poll", "hmac")
    body = b"\xff\xfe\x00" + SECRET.encode() + b"\x80"
    assert post(client, "poll", "hmac", body, authorization="Bearer x", x_github_event="survey").status_code == 202
    ((payload, kept, headers),) = inbox.sql(
        "SELECT e.payload, u.body, u.headers FROM event e JOIN unmapped u ON u.event_id = e.id"
    )
    assert bytes(kept) == b"\xff\xfe\x00[redacted]\x80"
    assert set(json.loads(payload)) == {"raw"}
    assert headers == {"content-type": "application/json", "x-github-event": "survey"}


def test_an_unmapped_event_is_not_replayed_and_another_is_not_released(
    client: FlaskClient, inbox: Inbox, settings: Settings
) -> None:
    add(inbox, "poll", "hmac")
    post(client, "poll", "hmac", b"no json")
    (event_id,) = held(inbox)
    with transaction(inbox.engine) as session, pytest.raises(NotReplayable, match="release it instead"):
        replay(session, event_id)
    post(client, "poll", "hmac", survey(data={"id": 5}))
    ((waiting,),) = inbox.sql("SELECT id FROM event WHERE status = 0")
    with pytest.raises(NotHeld):
        let_go(inbox, settings, waiting)


def test_a_disabled_bigcommerce_source_keeps_its_events_until_they_are_released(
    client: FlaskClient, inbox: Inbox, settings: Settings
) -> None:
    add(inbox, "big", "bigcommerce")
    with transaction(inbox.engine) as session:
        configured.switch_off(session, "big")
    at = int(time.time())
    body = {"scope": "store/product/updated", "data": {"type": "product", "id": 7}, "created_at": at}
    answer = post(client, "big", "bigcommerce", json.dumps(body).encode())
    assert (answer.status_code, answer.json and answer.json["outcome"]) == (200, "quarantined")
    odd = post(client, "big", "bigcommerce", b"no json", "k-2")
    assert (odd.status_code, odd.json and odd.json["outcome"]) == (200, "unmapped")
    ((event_id, reason),) = inbox.sql("SELECT id, error FROM event WHERE outcome = 8")
    assert reason == "source-disabled"
    with transaction(inbox.engine) as session:
        found = release.held(session, EventFilter(source="big"), "disabled", limit=10)
    assert list(found) == [event_id]
    let_go(inbox, settings, event_id)
    event = inbox.event(event_id)
    assert (event.status, event.version_text) == (0, str(at))


def test_erasing_a_customer_finds_unmapped_bodies_by_id_and_email(client: FlaskClient, inbox: Inbox) -> None:
    add(inbox, "poll", "hmac")
    for number, body in enumerate(
        (
            "mail Jürgen.Horn@Example.com now",
            "customer: 7312345678901",
            "<email>j%C3%BCrgen.horn%40example.com</email>",
            "form: " + json.dumps({"email": "jürgen.horn@example.com"}),
            "73123456789012",
        )
    ):
        assert post(client, "poll", "hmac", body.encode(), f"k-{number}").status_code == 202
    subject = {"customer_id": "7312345678901", "email": "jürgen.horn@example.com", "orders": []}
    ((source_id,),) = inbox.sql("SELECT id FROM source WHERE name = 'poll'")
    with transaction(inbox.engine) as session:
        keys = erase.customer_keys(session, source_id, subject)
        assert len(erase.events_of(session, source_id, keys)) == 4
        done = erase.entities(session, source_id, uuid.uuid4(), keys)
    assert done["events"] == 4
    assert inbox.sql("SELECT count(*) FROM unmapped") == [(1,)]
    assert inbox.sql("SELECT count(*) FROM event WHERE payload <> '{}'") == [(1,)]


def test_the_command_line_lists_tries_and_releases_them(client: FlaskClient, inbox: Inbox, tmp_path: Path) -> None:
    add(inbox, "poll", "hmac", id_pointer="/nowhere")
    for number in range(3):
        post(client, "poll", "hmac", survey(number))
    (group,) = from_json("events", "unmapped")
    assert (group["source"], group["type"], group["count"]) == ("poll", "survey.answered", 3)
    assert group["reason"] == "/nowhere (option id_pointer) is missing"
    body, config = tmp_path / "body.json", tmp_path / "config.json"
    body.write_bytes(survey(9))
    config.write_text(json.dumps({"mapping": [RULE]}))
    failed = run("sources", "test", "poll", "--file", str(body))
    assert (failed.exit_code, "unmapped" in failed.output) == (1, True)
    ok("sources", "configure", "poll", "--config", str(config))
    assert "survey_answer" in ok("sources", "show", "poll")
    (tried,) = from_json("sources", "test", "poll", "--file", str(body))
    assert (tried["entity_type"], tried["entity_id"]) == ("survey_answer", "9")
    assert "survey.*" in tried["read_by"]
    assert inbox.sql("SELECT count(*) FROM event") == [(3,)]
    said = ok("events", "release", "--outcome", "unmapped", "--source", "poll", "--dry-run")
    assert "3 held events match; nothing is changed" in said
    assert len(held(inbox)) == 3
    ok("events", "release", "--outcome", "unmapped", "--source", "poll", "--yes")
    assert held(inbox) == []
    assert inbox.sql("SELECT count(*) FROM event WHERE status = 0") == [(3,)]
