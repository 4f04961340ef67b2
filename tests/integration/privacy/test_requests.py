"""What senders ask besides taking events: nothing at once, then exactly that, and a record of it."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest

from app.db.engine import transaction
from app.models import RequestKind, RequestStatus
from app.privacy import sender_requests
from app.resources import Resources
from app.sources import configured
from tasks.process import process
from tasks.worker import carry_out_requests
from tests.support.cli_run import from_json, ok, refused
from tests.support.factories import Inbox, incoming

GRACE = timedelta(hours=72)
SHOP = {"shop_id": 954889, "shop_domain": "snowdevil.myshopify.com"}
CUSTOMER = {"id": 191167, "email": "John@example.com", "phone": "555"}
UNINSTALLED = {"id": 954889, "myshopify_domain": "snowdevil.myshopify.com"}
GID = "gid://shopify/Customer/191167"


@pytest.fixture
def apply(inbox: Inbox, resources: Resources) -> Any:
    def applied(type_: str, entity_type: str, entity_id: str, data: dict[str, Any], **changes: Any) -> str:
        event = incoming(type_, entity_id, data=data, entity_type=entity_type, **changes)
        pointer = inbox.pointer(event)
        process(resources, [pointer])
        assert inbox.event(pointer.event_id).status.name == "COMPLETED"
        return str(pointer.event_id)

    return applied


@pytest.fixture
def asked(apply: Any) -> Any:
    def ask(type_: str, data: dict[str, Any]) -> str:
        noun = type_.partition(".")[0] if "uninstalled" in type_ else "privacy_request"
        return str(apply(type_, noun, type_, data))

    return ask


@pytest.fixture
def john(apply: Any) -> None:
    """A customer with an order, a lead, tags and a segment; and somebody else with the same."""
    for customer, order, email in (("191167", "299938", "john@example.com"), ("2", "3", "jane@example.com")):
        gid = f"gid://shopify/Customer/{customer}"
        apply("customer.updated", "customer", customer, {"id": customer, "email": email})
        apply("order.updated", "order", order, {"id": order, "email": email})
        apply("lead.captured", "lead", f"lead-{customer}", {"email": email})
        apply("customer.joined_segment", "segment_membership", f"gid://shopify/Segment/3/{gid}", {"customer_id": gid})
        apply("customer.tags_added", "customer_tags", gid, {"customerId": gid, "tags": ["a"]})


def over(inbox: Inbox, resources: Resources) -> int:
    inbox.sql("UPDATE sender_request SET received_at = received_at - interval '73 hours'")
    return sender_requests.carry_out_due(resources.engine, GRACE)


def state(inbox: Inbox) -> list[Any]:
    return inbox.sql("SELECT enabled, leaving_since IS NOT NULL FROM source")


def test_an_uninstalled_app_leaves_after_its_grace_and_can_come_back(
    inbox: Inbox, resources: Resources, asked: Any
) -> None:
    asked("app.uninstalled", UNINSTALLED)
    assert state(inbox) == [(True, True)]
    assert sender_requests.carry_out_due(resources.engine, GRACE) == 0
    assert "leaving since" in ok("sources", "list")
    revision = inbox.sql("SELECT revision FROM source")
    assert over(inbox, resources) == 1
    assert state(inbox) == [(False, True)]
    assert inbox.sql("SELECT revision FROM source") != revision
    assert over(inbox, resources) == 0
    assert "takes events again" in ok("sources", "enable", "shop")
    assert state(inbox) == [(True, False)]


def test_an_uninstalled_extension_of_squarespaces_leaves_too(inbox: Inbox, resources: Resources, asked: Any) -> None:
    asked("extension.uninstalled", {"clientId": "c"})
    assert over(inbox, resources) == 1
    assert state(inbox) == [(False, True)]


def test_a_dismissed_request_to_leave_leaves_nothing(inbox: Inbox, resources: Resources, asked: Any) -> None:
    asked("app.uninstalled", UNINSTALLED)
    (request,) = from_json("requests", "list")
    assert (request["kind"], request["status"], request["source"]) == ("leave", "waiting", "shop")
    assert "dismissed" in ok("requests", "dismiss", str(request["id"]))
    assert state(inbox) == [(True, False)]
    assert over(inbox, resources) == 0
    assert from_json("requests", "list") == []
    assert [one["status"] for one in from_json("requests", "list", "--all")] == ["dismissed"]
    assert "no open request" in refused("requests", "confirm", str(request["id"]), "--yes").lower()


def test_another_shop_of_the_same_app_does_not_make_this_one_leave(
    inbox: Inbox, resources: Resources, asked: Any
) -> None:
    inbox.sql("""UPDATE source SET config = '{"shop": "other.myshopify.com"}'""")
    asked("app.uninstalled", UNINSTALLED)
    assert over(inbox, resources) == 0
    assert state(inbox) == [(True, True)]


def test_a_request_comes_twice_and_is_one(inbox: Inbox, asked: Any, resources: Resources) -> None:
    event_id = asked("app.uninstalled", UNINSTALLED)
    ok("events", "replay", event_id)
    assert len(from_json("requests", "list")) == 1


def test_a_customer_is_erased_for_good_and_nobody_else(
    inbox: Inbox, resources: Resources, apply: Any, asked: Any, john: None
) -> None:
    asked("customer.redacted", {**SHOP, "customer": CUSTOMER, "orders_to_redact": [299938]})
    before = inbox.sql("SELECT count(*) FROM event WHERE payload LIKE '%ohn@example.com%'")
    assert sender_requests.carry_out_due(resources.engine, GRACE) == 0
    assert inbox.sql("SELECT count(*) FROM event WHERE payload LIKE '%ohn@example.com%'") == before == [(4,)]
    assert over(inbox, resources) == 1
    for table, column in (("event", "payload"), ("entity", "data"), ("lead", "email"), ("sender_request", "subject")):
        found = f"SELECT count(*) FROM {table} WHERE {column}::text ILIKE '%john@example.com%'"
        assert inbox.sql(found) == [(0,)], table
    assert inbox.sql("SELECT count(*) FROM event WHERE payload LIKE '%/191167%'") == [(0,)]
    assert inbox.sql("SELECT email FROM lead") == [("jane@example.com",)]
    assert len(inbox.sql("SELECT 1 FROM entity WHERE data LIKE '%jane%' OR data LIKE '%Customer/2%'")) == 5
    apply(
        "customer.updated", "customer", "191167", {"id": 191167, "email": "john@example.com"}, version=int(time.time())
    )
    assert inbox.data("191167", "customer") is None
    ((status, kind, who, result),) = inbox.sql("SELECT status, kind, decided_by, result FROM sender_request")
    assert (RequestStatus(status), RequestKind(kind), who) == (RequestStatus.DONE, RequestKind.ERASE_CUSTOMER, None)
    assert result == {"entities": 7, "events": 5, "leads": 1}


def test_a_customer_whose_events_still_wait_is_erased_as_well(inbox: Inbox, resources: Resources, asked: Any) -> None:
    waiting = inbox.pointer(incoming("customer.updated", "191167", data={"id": 191167, "email": "john@example.com"}))
    asked("customer.redacted", {**SHOP, "customer": CUSTOMER, "orders_to_redact": []})
    assert over(inbox, resources) == 1
    process(resources, [waiting])
    assert inbox.event(waiting.event_id).payload == "{}"
    assert inbox.data("191167", "customer") is None


def test_a_customers_data_is_listed_by_a_person_and_by_nobody_else(
    inbox: Inbox, resources: Resources, asked: Any, john: None
) -> None:
    asked(
        "customer.data_requested",
        {**SHOP, "customer": CUSTOMER, "orders_requested": [299938], "data_request": {"id": 9}},
    )
    assert over(inbox, resources) == 0
    (request,) = from_json("requests", "list")
    assert request["kind"] == "list customer"
    shown = json.loads(ok("requests", "show", str(request["id"])))
    assert {(one["type"], one["data"].get("email")) for one in shown["entities"]} >= {
        ("customer", "john@example.com"),
        ("order", "john@example.com"),
        ("lead", "john@example.com"),
    }
    assert len(shown["events"]) == 5
    assert "jane" not in str(shown)
    assert "is done" in ok("requests", "confirm", str(request["id"]), "--yes")
    ((who, subject),) = inbox.sql("SELECT decided_by, subject FROM sender_request")
    assert who
    assert "email" not in subject
    assert inbox.data("191167", "customer") is not None


def test_a_whole_shop_is_erased_only_where_the_source_is_that_shops_or_a_person_says_so(
    inbox: Inbox, resources: Resources, asked: Any, john: None
) -> None:
    with transaction(inbox.engine) as session:
        configured.add(session, inbox.vault, "neighbour", "standard", inbox.secret, {})
    inbox.sql(
        "INSERT INTO fact SELECT gen_random_uuid(), id, 'order', '1', 'order.paid' FROM source WHERE name <> 'shop'"
    )
    asked("shop.redacted", SHOP)
    assert over(inbox, resources) == 0
    (request,) = from_json("requests", "list")
    waiting = inbox.pointer(incoming("price.updated"))
    inbox.sql("UPDATE event SET received_at = received_at - interval '80 hours' WHERE id = :id", id=waiting.event_id)
    assert "done" in ok("requests", "confirm", str(request["id"]), "--yes")
    for table in ("entity", "price", "lead", "event_conflict"):
        assert inbox.sql(f"SELECT count(*) FROM {table}") == [(0,)], table
    assert inbox.sql("SELECT count(*) FROM fact") == [(1,)]
    assert inbox.sql(
        "SELECT count(*) FROM event WHERE payload <> '{}' AND received_at < now() - interval '1 hour'"
    ) == [(0,)]
    process(resources, [waiting])
    assert inbox.entity() is None
    assert inbox.event(waiting.event_id).outcome is not None


def test_a_shop_that_the_options_name_is_erased_after_its_grace(
    inbox: Inbox, resources: Resources, asked: Any, apply: Any
) -> None:
    inbox.sql("""UPDATE source SET config = '{"shop": "snowdevil.myshopify.com"}'""")
    apply("price.updated", "price", "1", {"amount": "1", "currency": "EUR"})
    inbox.sql("UPDATE event SET received_at = received_at - interval '80 hours'")
    asked("shop.redacted", SHOP)
    assert over(inbox, resources) == 1
    assert inbox.sql("SELECT count(*) FROM price") == [(0,)]
    assert inbox.sql("SELECT result ->> 'price' FROM sender_request") == [("1",)]


def test_an_event_that_a_worker_has_is_erased_with_the_next_run(
    inbox: Inbox, resources: Resources, asked: Any
) -> None:
    inbox.sql("""UPDATE source SET config = '{"shop": "snowdevil.myshopify.com"}'""")
    held = inbox.pointer(incoming())
    inbox.sql("UPDATE event SET received_at = received_at - interval '80 hours', status = 1, claim_token = id")
    asked("shop.redacted", SHOP)
    assert over(inbox, resources) == 0
    inbox.sql("UPDATE event SET status = 2, outcome = 1 WHERE id = :id", id=held.event_id)
    assert sender_requests.carry_out_due(resources.engine, GRACE) == 1
    assert inbox.event(held.event_id).payload == "{}"


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("app.uninstalled", {"id": 1}),
        ("app.opened", UNINSTALLED),
        ("extension.uninstalled", {}),
        ("shop.redacted", {"shop_id": 1}),
        ("customer.redacted", SHOP),
        ("customer.redacted", {**SHOP, "customer": {"email": "x"}}),
        ("customer.redacted", {**SHOP, "customer": {"id": True}}),
    ],
)
def test_what_does_not_look_like_a_request_is_none(inbox: Inbox, asked: Any, type_: str, data: dict[str, Any]) -> None:
    asked(type_, data)
    assert inbox.sql("SELECT count(*) FROM sender_request") == [(0,)]


def test_a_body_that_is_no_object_asks_nothing(inbox: Inbox, resources: Resources) -> None:
    event = incoming("app.uninstalled", payload={"data": ["x"]})
    process(resources, [inbox.pointer(event)])
    assert inbox.sql("SELECT count(*) FROM sender_request") == [(0,)]


def test_the_task_of_the_clock_carries_out_what_is_due(inbox: Inbox, asked: Any) -> None:
    asked("app.uninstalled", UNINSTALLED)
    inbox.sql("UPDATE sender_request SET received_at = received_at - interval '73 hours'")
    carry_out_requests()
    assert state(inbox) == [(False, True)]


def test_what_cannot_be_undone_asks_first(inbox: Inbox, asked: Any) -> None:
    asked("app.uninstalled", UNINSTALLED)
    (request,) = from_json("requests", "list")
    refused("requests", "confirm", str(request["id"]), code=2)
    assert "leave" in ok("requests", "list")
    assert state(inbox) == [(True, True)]
