"""The desk: who may look, what they see, and how lists go on."""

import uuid
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.db.engine import transaction
from app.messaging.pointer import Pointer
from app.models import Scope
from app.resources import Resources
from app.security import api_keys
from tasks.process import process
from tests.support.factories import Inbox, incoming


class Desk:
    """A client with a key."""

    def __init__(self, client: FlaskClient, inbox: Inbox, scope: Scope) -> None:
        self.client = client
        with transaction(inbox.engine) as session:
            self.key = api_keys.create(session, inbox.vault, "test", scope)

    def get(self, path: str) -> TestResponse:
        return self.client.get(path, headers={"Authorization": f"Bearer {self.key}"})

    def post(self, path: str) -> TestResponse:
        return self.client.post(path, headers={"Authorization": f"Bearer {self.key}"})

    def json(self, path: str) -> Any:
        response = self.get(path)
        assert response.status_code == 200, response.text
        return response.json


@pytest.fixture
def desk(flask_app: Flask, inbox: Inbox) -> Desk:
    return Desk(flask_app.test_client(), inbox, Scope.READ)


def applied(resources: Resources, inbox: Inbox, *events: Any) -> list[str]:
    pointers = [inbox.pointer(event) for event in events]
    for pointer in pointers:
        process(resources, [pointer])
    return [str(pointer.event_id) for pointer in pointers]


PATHS = ["/v1/events", "/v1/events/00000000-0000-7000-8000-000000000000", "/v1/entities/shop/price/1", "/v1/lanes"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", "Bearer tk_wrong", "Basic dGs6dGs=", "Bearer", "\xe9"]
)
def test_every_route_needs_a_key(flask_app: Flask, path: str, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = flask_app.test_client().get(path, headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_key_works_until_it_is_revoked(desk: Desk, inbox: Inbox) -> None:
    assert desk.json("/v1/lanes")
    assert inbox.sql("SELECT last_used_at IS NOT NULL FROM api_key") == [(True,)]
    with transaction(inbox.engine) as session:
        key_id = api_keys.listed(session)[0].id
        since = api_keys.revoke(session, key_id)
        assert api_keys.revoke(session, key_id) == since
    assert desk.get("/v1/lanes").status_code == 401


def test_no_key_is_stored(desk: Desk, inbox: Inbox) -> None:
    (row,) = inbox.sql("SELECT CAST(api_key AS text), encode(digest, 'escape') FROM api_key")
    secret = desk.key.removeprefix("tk_")
    assert not [part for part in row if secret in part or secret.encode().hex() in part]


def test_an_event_shows_its_reasons_payload_and_timeline(desk: Desk, inbox: Inbox, resources: Resources) -> None:
    old, new = incoming(version=1), incoming(version=2, data={"id": 9007199254740993, "amount": Decimal("1.10")})
    ids = applied(resources, inbox, old, new)
    shown = desk.get(f"/v1/events/{ids[1]}")
    assert b'"payload":{"data":{"amount":1.10,"id":9007199254740993},' in shown.data
    assert shown.json is not None
    assert [step["step"] for step in shown.json["timeline"]] == [
        "received",
        "dispatched",
        "claimed",
        "finished",
        "not projected",
    ]
    assert (shown.json["source"], shown.json["reasons"]) == ("shop", ["prices are urgent", "the shipped policy"])
    superseded = desk.json(f"/v1/events/{ids[0]}")
    assert superseded["outcome"] == "superseded"
    assert superseded["timeline"][-1]["by"] == ids[1]


@pytest.mark.parametrize("event_id", ["00000000-0000-7000-8000-000000000000", "1", "%00"])
def test_an_event_that_is_not_there_is_404(desk: Desk, event_id: str) -> None:
    assert desk.get(f"/v1/events/{event_id}").status_code == 404


def test_an_entity_shows_the_senders_object_to_the_digit(desk: Desk, inbox: Inbox, resources: Resources) -> None:
    data = {"id": 9007199254740993, "amount": Decimal("19.990000000000000001")}
    (event_id,) = applied(resources, inbox, incoming(entity_id="a/b//c", data=data))
    response = desk.get("/v1/entities/shop/price/a/b//c")
    assert b'"data":{"amount":19.990000000000000001,"id":9007199254740993}' in response.data
    assert response.json is not None
    assert set(response.json) == {"source", "type", "id", "version", "deleted", "data", "event_id", "applied_at"}
    assert (response.json["id"], response.json["version"], response.json["deleted"]) == ("a/b//c", "1000", False)
    assert response.json["event_id"] == event_id


def test_a_deleted_entity_is_200_without_data_and_one_never_seen_is_404(
    desk: Desk, inbox: Inbox, resources: Resources
) -> None:
    applied(resources, inbox, incoming("price.deleted", version=None))
    shown = desk.json("/v1/entities/shop/price/sku-1")
    assert (shown["deleted"], shown["data"], shown["version"]) == (True, None, None)
    for path in ("shop/price/sku-2", "shop/product/sku-1", "other/price/sku-1", "shop/price/%00"):
        assert desk.get(f"/v1/entities/{path}").status_code == 404


def test_events_are_listed_newest_first_page_by_page_without_gaps(desk: Desk, inbox: Inbox) -> None:
    for number in range(7):
        inbox.accept(incoming(entity_id=str(number)), received_at=1_700_000_000.0 + number // 3)
    seen: list[str] = []
    path = "/v1/events?limit=3"
    while True:
        page = desk.json(path)
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        path = f"/v1/events?limit=3&cursor={page['next']}"
    newest_first = inbox.sql("SELECT id FROM event ORDER BY received_at DESC, id DESC")
    assert seen == [str(row[0]) for row in newest_first]


def test_events_are_filtered_by_each_parameter(desk: Desk, inbox: Inbox, resources: Resources) -> None:
    applied(resources, inbox, incoming(entity_id="a"))
    inbox.accept(incoming("log.written", "b"), received_at=1_600_000_000.0)
    for query, expected in {
        "source=shop": 2,
        "source=other": 0,
        "lane=low": 1,
        "status=completed": 1,
        "outcome=applied": 1,
        "type=log.written": 1,
        "entity_type=price": 1,
        "entity_id=b": 1,
        "since=2021-01-01T00:00:00Z": 1,
        "until=2021-01-01T00:00:00%2B00:00": 1,
        "until=2021-01-01T00:00:00+00:00": 1,
        "since=2020-09-13": 2,
        "lane=high&status=completed&outcome=applied&source=shop": 1,
    }.items():
        assert len(desk.json(f"/v1/events?{query}")["items"]) == expected, query


@pytest.mark.parametrize(
    "query",
    [
        "color=red",
        "lane=urgent",
        "status=PENDING ",
        "limit=0",
        "limit=1001",
        "limit=1e2",
        "limit=%C2%B2",
        "since=yesterday",
        "since=0001-01-01T00:00:00%2B14:00",
        "cursor=nothing",
        "cursor=%C3%A9",
        "source=a&source=b",
        "source=%00",
    ],
)
def test_a_parameter_that_cannot_be_read_is_400(desk: Desk, query: str) -> None:
    response = desk.get(f"/v1/events?{query}")
    assert response.status_code == 400, response.text


def test_lanes_show_what_waits_and_how_fast_it_goes(desk: Desk, inbox: Inbox, resources: Resources) -> None:
    applied(resources, inbox, incoming())
    inbox.accept(incoming("log.written", "b"))
    inbox.accept(incoming("segment.updated", "c"))
    inbox.sql("UPDATE event SET due_at = now() + interval '1 hour' WHERE entity_type = 'segment'")
    high, medium, low = desk.json("/v1/lanes")["items"]
    assert set(high) == {
        "lane",
        "waiting",
        "scheduled",
        "in_flight",
        "oldest_due_age_s",
        "in_per_s",
        "out_per_s",
        "latency_ms",
        "shed",
        "shed_total",
    }
    assert (high["lane"], high["waiting"], high["oldest_due_age_s"]) == ("high", 0, None)
    assert high["latency_ms"]["p50"] > 0
    assert (medium["waiting"], medium["scheduled"]) == (0, 1)
    assert low["waiting"] == 1
    assert low["oldest_due_age_s"] >= 0


def test_an_ended_event_is_replayed_through_the_same_gate(
    flask_app: Flask, inbox: Inbox, resources: Resources
) -> None:
    writer = Desk(flask_app.test_client(), inbox, Scope.WRITE)
    (event_id,) = applied(resources, inbox, incoming(version=1))
    applied(resources, inbox, incoming(version=2, data={"n": 2}))
    response = writer.post(f"/v1/events/{event_id}/replay")
    assert response.status_code == 202
    assert response.json is not None
    assert (response.json["id"], response.json["status"], response.json["attempts"]) == (event_id, "pending", 0)
    assert writer.post(f"/v1/events/{event_id}/replay").status_code == 409
    process(resources, [Pointer(uuid.UUID(event_id), 0)])
    replayed = writer.json(f"/v1/events/{event_id}")
    assert replayed["outcome"] == "stale"
    steps = [step["step"] for step in replayed["timeline"]]
    assert steps[:4] == ["received", "claimed", "finished", "replayed"]
    assert steps[-2:] == ["claimed", "finished"]
    assert inbox.data() == '{"n":2}'


def test_a_replayed_fact_ends_unchanged(inbox: Inbox, resources: Resources, flask_app: Flask) -> None:
    writer = Desk(flask_app.test_client(), inbox, Scope.WRITE)
    (event_id,) = applied(resources, inbox, incoming("order.paid"))
    assert writer.post(f"/v1/events/{event_id}/replay").status_code == 202
    process(resources, [Pointer(uuid.UUID(event_id), 0)])
    assert writer.json(f"/v1/events/{event_id}")["outcome"] == "unchanged"
    assert inbox.sql("SELECT count(*) FROM fact") == [(1,)]


def test_reading_keys_replay_nothing(desk: Desk, inbox: Inbox, resources: Resources) -> None:
    (event_id,) = applied(resources, inbox, incoming())
    assert desk.post(f"/v1/events/{event_id}/replay").status_code == 403
    assert desk.post(f"/v1/events/{uuid.uuid4()}/replay").status_code == 403


def test_unknown_and_quarantined_events_are_not_replayed(flask_app: Flask, inbox: Inbox) -> None:
    writer = Desk(flask_app.test_client(), inbox, Scope.WRITE)
    assert writer.post(f"/v1/events/{uuid.uuid4()}/replay").status_code == 404
    quarantined = inbox.accept(incoming(version=10**9), received_at=1_000.0)[0]
    assert writer.post(f"/v1/events/{quarantined.id}/replay").status_code == 409
