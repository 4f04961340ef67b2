"""The desk for admins: sources, keys, the audit log; and what a key that is limited may see."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from flask import Flask
from sqlalchemy.exc import IntegrityError

from app.db.engine import transaction
from app.messaging.pointer import Pointer
from app.models import Scope
from app.resources import Resources
from app.security import api_keys, audit
from app.sources import configured
from app.sources.configured import FIRST_PARTY
from tasks.process import process
from tests.support.admin_client import Desk, problem
from tests.support.factories import Inbox, incoming, whsec


@pytest.fixture
def admin(flask_app: Flask, inbox: Inbox) -> Desk:
    return Desk(flask_app, inbox, Scope.ADMIN)


@pytest.fixture
def other(inbox: Inbox) -> str:
    """A second source's secret; its name is other."""
    secret = whsec()
    with transaction(inbox.engine) as session:
        configured.add(session, inbox.vault, "other", "standard", secret, {})
    return secret


def actions(admin: Desk, query: str = "") -> list[tuple[str, str]]:
    return [(one["action"], one["subject"]) for one in admin.get(f"/v1/audit{query}")["items"]]


def test_a_source_is_added_changed_rotated_and_removed_and_all_of_it_is_in_the_audit_log(admin: Desk) -> None:
    secret = whsec()
    made = admin.done("POST", "/v1/sources", {"name": "mag", "kind": "standard", "secret": secret}, status=201)
    assert (made["name"], made["enabled"], len(made["secrets"])) == ("mag", True, 1)
    change = {"enabled": False, "weight": 3, "limit": {"per_s": 5.5, "burst": 20}}
    changed = admin.done("PATCH", "/v1/sources/mag", change, status=200)
    assert (changed["enabled"], changed["weight"], changed["limit"]) == (False, 3, {"per_s": 5.5, "burst": 20})
    assert admin.client.post("/webhooks/mag", json={}).status_code == 503
    mapping = [{"type": "survey.*", "id": "/response"}]
    taught = admin.done("PATCH", "/v1/sources/mag", {"config": {"mapping": mapping}}, status=200)
    assert taught["config"] == {"mapping": mapping}
    assert admin.refused("PATCH", "/v1/sources/mag", {"config": {"mapping": [{"type": "x", "id": "no pointer"}]}}) == (
        400,
        "config-invalid",
    )
    assert admin.done("PATCH", "/v1/sources/mag", {"config": {"mapping": None}}, status=200)["config"] == {}
    assert admin.done("PATCH", "/v1/sources/mag", {"limit": None}, status=200)["limit"] is None
    assert admin.done("PATCH", "/v1/sources/mag", {"enabled": True}, status=200)["weight"] == 3
    rotated = admin.done("POST", "/v1/sources/mag/secret", {"secret": whsec(), "grace_s": 60}, status=200)
    assert [one["until"] is None for one in rotated["secrets"]] == [True, False]
    assert admin.done("DELETE", "/v1/sources/mag", status=204) is None
    assert admin.refused("GET", "/v1/sources/mag") == (404, "source-unknown")
    assert [action for action, _ in actions(admin, "?subject=source:mag")] == [
        "source.removed",
        "source.secret-rotated",
        "source.changed",
        "source.changed",
        "source.changed",
        "source.changed",
        "source.changed",
        "source.changed",
        "source.changed",
        "source.added",
    ]
    (entry,) = admin.get("/v1/audit?action=source.added&subject=source:mag")["items"]
    assert entry["actor"] == f"key:ops#{admin.key_id}"
    assert secret not in admin.call("GET", "/v1/audit").text


def test_a_source_is_changed_only_as_it_was_seen(admin: Desk) -> None:
    seen = admin.call("GET", "/v1/sources/shop").headers["ETag"]
    assert admin.call("GET", "/v1/sources/shop", If_None_Match=seen).status_code == 304
    admin.done("PATCH", "/v1/sources/shop", {"weight": 2}, status=200, If_Match=seen)
    for method, path, body in (
        ("PATCH", "/v1/sources/shop", {"weight": 3}),
        ("POST", "/v1/sources/shop/secret", {"secret": whsec()}),
        ("DELETE", "/v1/sources/shop", None),
    ):
        assert admin.refused(method, path, body, If_Match=seen) == (412, "source-changed")
    assert admin.get("/v1/sources/shop")["weight"] == 2


@pytest.mark.parametrize(
    "body",
    [
        {"name": "Not A Name", "kind": "standard", "secret": "x"},
        {"name": "a", "kind": "nothing", "secret": "x"},
        {"name": "a", "kind": "standard", "secret": "not base64!"},
        {"name": "shop", "kind": "standard", "secret": whsec()},
        {"name": "a", "kind": "standard", "secret": whsec(), "color": 1},
        {"name": "a", "kind": "standard"},
        [],
        None,
    ],
)
def test_a_source_that_cannot_be_is_400_and_its_secret_is_in_no_answer(admin: Desk, body: Any) -> None:
    response = admin.call("POST", "/v1/sources", body)
    assert response.status_code == 400, response.text
    if isinstance(body, dict) and len(body.get("secret", "")) > 1:
        assert body["secret"] not in response.text


def test_lists_of_sources_keys_and_audit_go_on_page_by_page(admin: Desk, flask_app: Flask, inbox: Inbox) -> None:
    for name in ("b", "a", "c"):
        admin.done("POST", "/v1/sources", {"name": name, "kind": "standard", "secret": whsec()}, status=201)
        Desk(flask_app, inbox, Scope.READ)
    for path, told, count in (("sources", "name", 4), ("keys", "id", 4), ("audit", "id", 8)):
        seen: list[Any] = []
        cursor = ""
        while True:
            page = admin.get(f"/v1/{path}?limit=2{cursor}")
            assert len(page["items"]) <= 2
            seen += [one[told] for one in page["items"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert len(seen) == count, path
        assert seen == sorted(seen, reverse=path != "sources")


@pytest.mark.parametrize("path", ["sources", "keys", "audit", "prices", "leads"])
@pytest.mark.parametrize(
    "query",
    ["color=red", "limit=0", "limit=1001", "limit=1e2", "limit=%2B5", "cursor=nothing", "cursor=W10", "cursor=%00"],
)
def test_a_parameter_that_cannot_be_read_is_400(admin: Desk, path: str, query: str) -> None:
    assert admin.refused("GET", f"/v1/{path}?{query}") == (400, "field-invalid")


@pytest.mark.parametrize("query", ["since=yesterday", "actor=%00", "actor=a&actor=b", "until="])
def test_an_audit_filter_that_cannot_be_read_is_400(admin: Desk, query: str) -> None:
    assert admin.refused("GET", f"/v1/audit?{query}") == (400, "field-invalid")


def test_typed_rows_go_on_page_by_page_and_numbers_keep_their_digits(
    admin: Desk, inbox: Inbox, resources: Resources
) -> None:
    for number in range(5):
        data = {"id": f"sku-{number}", "sku": "s", "amount": Decimal("19.900000000000000001"), "currency": "EUR"}
        process(resources, [inbox.pointer(incoming(entity_id=f"sku-{number}", data=data))])
    seen: list[str] = []
    cursor = ""
    while True:
        page = admin.get(f"/v1/prices?limit=2&sku=s&currency=EUR&source=shop{cursor}")
        seen += [price["entity_id"] for price in page["items"]]
        assert {price["amount"] for price in page["items"]} == {"19.900000000000000001"}
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == [f"sku-{number}" for number in range(5)]
    assert admin.get("/v1/prices?sku=other")["items"] == []


def test_the_audit_log_is_filtered_and_can_only_grow(admin: Desk, inbox: Inbox) -> None:
    assert actions(admin, "?actor=tiercel&since=2020-01-01&until=2999-01-01T00:00:00Z&subject=source:shop") == [
        ("source.added", "source:shop")
    ]
    assert actions(admin, "?until=2020-01-01") == []
    for statement in ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"):
        with pytest.raises(IntegrityError, match="append-only"):
            inbox.sql(statement)


def test_a_key_is_made_shown_once_rotated_and_revoked(admin: Desk, inbox: Inbox) -> None:
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    wanted = {"name": "ci", "scope": "read", "sources": ["shop"], "expires_at": ends}
    made = admin.done("POST", "/v1/keys", wanted, status=201)
    assert (made["name"], made["scope"], made["sources"]) == ("ci", "read", ["shop"])
    assert made["key"] not in admin.call("GET", "/v1/keys").text
    with transaction(inbox.engine) as session:
        assert api_keys.check(session, inbox.vault, made["key"], Scope.READ).id == made["id"]
    turned = admin.done("POST", f"/v1/keys/{made['id']}/rotate", status=201)
    assert (turned["scope"], turned["sources"], turned["expires_at"]) == ("read", ["shop"], made["expires_at"])
    with transaction(inbox.engine) as session, pytest.raises(api_keys.KeyInvalid):
        api_keys.check(session, inbox.vault, made["key"], Scope.READ)
    assert admin.refused("POST", f"/v1/keys/{made['id']}/rotate") == (404, "key-unknown")
    assert admin.done("DELETE", f"/v1/keys/{turned['id']}", status=204) is None
    assert admin.done("DELETE", f"/v1/keys/{turned['id']}", status=204) is None
    assert [action for action, _ in actions(admin)][:4] == ["key.revoked", "key.revoked", "key.created", "key.created"]


@pytest.mark.parametrize("key_id", ["0", "x", "99999999999999999999", "2147483647", "²"])
def test_a_key_that_is_not_there_is_404(admin: Desk, key_id: str) -> None:
    assert admin.refused("DELETE", f"/v1/keys/{key_id}") == (404, "key-unknown")


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "root"},
        {"sources": ["nobody"]},
        {"sources": []},
        {"scope": "admin", "sources": ["shop"]},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2999-01-01T00:00:00"},
        {"name": ""},
        {"name": " "},
        {"name": "a\u202e"},
        {"color": "red"},
    ],
)
def test_a_key_that_cannot_be_is_400(admin: Desk, change: dict[str, Any]) -> None:
    body = {"name": "ci", "scope": "write", **change}
    assert admin.refused("POST", "/v1/keys", body) == (400, "field-invalid")


def test_a_key_ends_when_its_time_has_come(flask_app: Flask, inbox: Inbox) -> None:
    desk = Desk(flask_app, inbox, Scope.READ)
    assert desk.get("/v1/lanes")
    inbox.sql("UPDATE api_key SET expires_at = now()")
    assert desk.refused("GET", "/v1/lanes") == (401, "key-invalid")


ADMINS = [
    ("POST", "/v1/sources"),
    ("PATCH", "/v1/sources/shop"),
    ("DELETE", "/v1/sources/shop"),
    ("POST", "/v1/sources/shop/secret"),
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("POST", "/v1/keys/1/rotate"),
    ("DELETE", "/v1/keys/1"),
    ("GET", "/v1/audit"),
    ("PUT", "/v1/priority/policy"),
]


@pytest.mark.parametrize(("method", "path"), ADMINS)
def test_what_admins_do_nobody_else_does(flask_app: Flask, inbox: Inbox, method: str, path: str) -> None:
    for scope in (Scope.READ, Scope.WRITE):
        assert Desk(flask_app, inbox, scope).refused(method, path, {}) == (403, "scope-missing")
    assert problem(flask_app.test_client().open(path, method=method)) == (401, "key-invalid")


def test_a_limited_key_sees_and_touches_only_what_is_of_its_sources(
    flask_app: Flask, inbox: Inbox, resources: Resources, other: str
) -> None:
    pointer = inbox.pointer(incoming())
    process(resources, [pointer])
    waiting = inbox.accept(incoming("log.written", "b"))[0].id
    mine, theirs = (Desk(flask_app, inbox, Scope.WRITE, [name]) for name in ("shop", "other"))
    for desk, count in ((mine, 1), (theirs, 0)):
        assert len(desk.get("/v1/events")["items"]) == 2 * count
        assert len(desk.get("/v1/prices")["items"]) == count
        assert [one["name"] for one in desk.get("/v1/sources")["items"]] == [["other"], ["shop"]][count]
    for method, path, body, name in (
        ("GET", f"/v1/events/{waiting}", None, "event-unknown"),
        ("POST", f"/v1/events/{pointer.event_id}/replay", None, "event-unknown"),
        ("POST", f"/v1/events/{waiting}/priority", {"lane": "high"}, "event-unknown"),
        ("POST", "/v1/priority/explain", {"event_id": str(waiting)}, "event-unknown"),
        ("GET", "/v1/entities/shop/price/sku-1", None, "entity-unknown"),
        ("GET", "/v1/sources/shop", None, "source-unknown"),
    ):
        assert theirs.refused(method, path, body) == (404, name)
        assert mine.call(method, path, body).status_code < 300
    for wanted in ({"lane": "low"}, {"source": "shop"}, {"ids": [str(uuid.uuid4())]}):
        asked = {"filter": wanted, "lane": "high"}
        assert theirs.refused("POST", "/v1/reprioritisations", asked) == (403, "scope-missing")
    move: dict[str, Any] = {"filter": {"source": "shop"}, "lane": "low", "dry_run": False}
    assert mine.done("POST", "/v1/reprioritisations", move, status=200)["count"] == 2
    for wanted in ({"outcome": "dead"}, {"source": "shop"}):
        again = {"filter": wanted, "dry_run": True}
        assert theirs.refused("POST", "/v1/replays", again) == (403, "scope-missing")
    assert mine.done("POST", "/v1/replays", {"filter": {"source": "shop"}, "dry_run": True}, status=200)
    for method, path in (
        ("GET", "/v1/replays"),
        ("GET", f"/v1/replays/{waiting}"),
        ("DELETE", f"/v1/replays/{waiting}"),
    ):
        assert mine.refused(method, path) == (403, "scope-missing")
    event = {"type": "lead.captured", "data": {"id": 1}, "source": "shop"}
    assert theirs.refused("POST", "/v1/events", event, Idempotency_Key="k") == (403, "scope-missing")
    assert mine.done("POST", "/v1/events", event, Idempotency_Key="k", status=202)


def test_whoever_moves_or_replays_is_in_the_audit_log(admin: Desk, inbox: Inbox, resources: Resources) -> None:
    pointer = inbox.pointer(incoming())
    process(resources, [pointer])
    waiting = inbox.accept(incoming("log.written", "b"))[0].id
    admin.done("POST", f"/v1/events/{pointer.event_id}/replay", status=202)
    admin.done("POST", f"/v1/events/{waiting}/priority", {"lane": "medium"}, status=200)
    move = {"filter": {"ids": [str(waiting)]}, "lane": "high", "reason": "Black Friday"}
    admin.done("POST", "/v1/reprioritisations", move, status=200)
    replay = admin.done("POST", "/v1/replays", {"filter": {"source": "shop"}}, status=202)
    admin.done("DELETE", f"/v1/replays/{replay['id']}", status=200)
    assert actions(admin)[:5] == [
        ("replay.stopped", f"replay:{replay['id']}"),
        ("events.replayed", f"replay:{replay['id']}"),
        ("events.moved", "events"),
        ("event.moved", f"event:{waiting}"),
        ("event.replayed", f"event:{pointer.event_id}"),
    ]


@pytest.mark.parametrize(
    ("until", "status"), [("0565-10-07T13:13:56+19:36", 200), ("0001-01-01T00:00:00+14:00", 400), ("2020-01-01", 400)]
)
def test_a_time_is_any_offset_that_the_calendar_holds(admin: Desk, until: str, status: int) -> None:
    move = {"filter": {"until": until}, "lane": "high"}
    assert admin.call("POST", "/v1/reprioritisations", move).status_code == status
    key = {"name": "ci", "scope": "read", "expires_at": "2999-10-07T13:13:56+19:36"}
    assert admin.call("POST", "/v1/keys", key).status_code == 201


def test_a_policy_that_is_set_is_in_the_audit_log_too(admin: Desk) -> None:
    document = admin.get("/v1/priority/policy")["policy"]
    admin.done("PUT", "/v1/priority/policy", document, status=200, If_Match="*")
    assert actions(admin)[0] == ("policy.set", "policy:1")


def test_a_failed_deed_leaves_nothing_in_the_audit_log(admin: Desk, inbox: Inbox) -> None:
    before = len(actions(admin))
    with pytest.raises(RuntimeError), transaction(inbox.engine) as session:
        audit.record(session, audit.Action.SOURCE_ADDED, "source:never")
        raise RuntimeError
    assert len(actions(admin)) == before


class TestFirstPartyEvents:
    """POST /v1/events."""

    LEAD: ClassVar[dict[str, Any]] = {
        "type": "lead.captured",
        "data": {"id": "l-1", "email": "a@example.org", "campaign": "bf", "score": 1},
    }

    def test_a_lead_is_taken_applied_and_listed(self, admin: Desk, resources: Resources) -> None:
        taken = admin.done("POST", "/v1/events", self.LEAD, status=202, Idempotency_Key="lead-1")
        assert set(taken) == {"id", "status", "outcome", "lane"}
        again = admin.call("POST", "/v1/events", self.LEAD, Idempotency_Key="lead-1")
        assert (again.status_code, again.headers["X-Event-Status"]) == (200, "DUPLICATE")
        differs = admin.call("POST", "/v1/events", {**self.LEAD, "data": {"id": 2}}, Idempotency_Key="lead-1")
        assert (differs.status_code, differs.headers["X-Event-Status"]) == (200, "CONFLICT")
        process(resources, [Pointer(uuid.UUID(taken["id"]), 0)])
        (lead,) = admin.get(f"/v1/leads?email=a@example.org&campaign=bf&source={FIRST_PARTY}")["items"]
        assert (lead["event_id"], lead["entity_id"], lead["email"]) == (taken["id"], "l-1", "a@example.org")
        assert ("source.added", f"source:{FIRST_PARTY}") in actions(admin)
        assert admin.get(f"/v1/events/{taken['id']}")["external_id"] == "lead-1"

    def test_leads_are_listed_newest_first_page_by_page_and_by_when_they_came(
        self, admin: Desk, inbox: Inbox, resources: Resources
    ) -> None:
        for number in range(5):
            lead = {**self.LEAD, "data": {"id": str(number), "email": f"{number}@example.org"}}
            taken = admin.done("POST", "/v1/events", lead, status=202, Idempotency_Key=f"lead-{number}")
            process(resources, [Pointer(uuid.UUID(taken["id"]), 0)])
        seen: list[str] = []
        cursor = ""
        while True:
            page = admin.get(f"/v1/leads?limit=2{cursor}")
            seen += [lead["entity_id"] for lead in page["items"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert seen == ["4", "3", "2", "1", "0"]
        inbox.sql("UPDATE lead SET captured_at = '2020-01-01' WHERE entity_id = '3'")
        for query, count in {"since=2021-01-01": 4, "until=2021-01-01T00:00:00%2B00:00": 1, "entity_id=3": 1}.items():
            assert len(admin.get(f"/v1/leads?{query}")["items"]) == count
        assert admin.refused("GET", "/v1/leads?cursor=WyJubyBpZCJd") == (400, "field-invalid")

    def test_the_first_party_source_has_a_webhook_that_refuses_everything(self, admin: Desk) -> None:
        admin.done("POST", "/v1/events", self.LEAD, status=202, Idempotency_Key="k")
        response = admin.client.post(f"/webhooks/{FIRST_PARTY}", json=self.LEAD)
        assert problem(response) == (401, "secret-missing")

    @pytest.mark.parametrize("kind", ["campaign.triggered", "content.published"])
    def test_a_campaigns_trigger_and_content_to_publish_become_rows(
        self, admin: Desk, resources: Resources, kind: str
    ) -> None:
        event = {
            "type": kind,
            "timestamp": "2024-11-29T06:00:00Z",
            "data": {"id": "7", "name": "Flash", "title": "Sale"},
        }
        taken = admin.done("POST", "/v1/events", event, status=202, Idempotency_Key=kind)
        process(resources, [Pointer(uuid.UUID(taken["id"]), 0)])
        assert admin.get(f"/v1/events/{taken['id']}")["outcome"] == "applied"
        path = "/v1/campaigns?name=Flash" if kind.startswith("campaign") else "/v1/content?entity_id=7"
        assert len(admin.get(path)["items"]) == 1

    @pytest.mark.parametrize(
        ("body", "name"),
        [
            ([], "body-malformed"),
            ({"type": "lead.captured"}, "field-invalid"),
            ({"data": {"id": 1}}, "field-invalid"),
            ({"type": "lead.captured", "data": {"id": 1}, "source": 5}, "field-invalid"),
            ({"type": "lead.captured", "data": {"id": 1}, "timestamp": "soon"}, "field-invalid"),
        ],
    )
    def test_what_cannot_be_an_event_is_400(self, admin: Desk, body: Any, name: str) -> None:
        assert admin.refused("POST", "/v1/events", body, Idempotency_Key="k") == (400, name)

    @pytest.mark.parametrize("key", [None, "", "\xe9", "a b", "x" * 256])
    def test_it_needs_an_idempotency_key(self, admin: Desk, key: str | None) -> None:
        headers = {} if key is None else {"Idempotency_Key": key}
        assert admin.refused("POST", "/v1/events", self.LEAD, **headers) == (400, "field-invalid")

    def test_sources_of_other_kinds_and_unknown_ones_take_none(self, admin: Desk, inbox: Inbox) -> None:
        with transaction(inbox.engine) as session:
            configured.add(session, inbox.vault, "path", "elasticpath", "a secret of it", {})
        for name in ("path", "nobody", "\x00"):
            event = {**self.LEAD, "source": name}
            assert admin.refused("POST", "/v1/events", event, Idempotency_Key="k") == (404, "source-unknown")

    def test_readers_send_nothing_and_json_is_said_to_be_json(self, flask_app: Flask, inbox: Inbox) -> None:
        reader, writer = (Desk(flask_app, inbox, scope) for scope in (Scope.READ, Scope.WRITE))
        assert reader.refused("POST", "/v1/events", self.LEAD, Idempotency_Key="k") == (403, "scope-missing")
        for path in ("/v1/events", "/v1/reprioritisations", "/v1/priority/explain"):
            response = writer.client.post(path, data=b"{}", headers={"Authorization": f"Bearer {writer.key}"})
            assert problem(response) == (415, "content-type-unsupported")
