"""What senders ask, at the desk: seen by who may see the source, decided by admins, written down."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app.db.engine import transaction
from app.models import Scope
from app.privacy import sender_requests
from app.resources import Resources
from app.sources import configured
from tasks.process import process
from tests.support.admin_client import Desk
from tests.support.factories import Inbox, incoming

GRACE = timedelta(hours=72)
SHOP = {"shop_id": 954889, "shop_domain": "snowdevil.myshopify.com"}
CUSTOMER = {"id": 191167, "email": "john@example.com", "phone": "555"}
UNINSTALLED = {"id": 954889, "myshopify_domain": "snowdevil.myshopify.com"}
ODD_IDS = ["0", "x", "-1", "1.0", "²", "2147483648", "00000000001" + "9" * 20, "9" * 5000]


@pytest.fixture
def admin(flask_app: Flask, inbox: Inbox) -> Desk:
    return Desk(flask_app, inbox, Scope.ADMIN)


@pytest.fixture
def asked(inbox: Inbox, resources: Resources) -> list[int]:
    """Three requests: to leave, to erase John, to list John; and what is kept of him. Their numbers, in that order."""

    def apply(type_: str, entity_type: str, entity_id: str, data: dict[str, Any]) -> None:
        process(resources, [inbox.pointer(incoming(type_, entity_id, data=data, entity_type=entity_type))])

    apply("customer.updated", "customer", "191167", {"id": "191167", "email": "john@example.com"})
    apply("order.updated", "order", "299938", {"id": "299938", "note": "12345678901234567890.10"})
    apply("lead.captured", "lead", "lead-1", {"email": "John@Example.com"})
    apply("customer.updated", "customer", "2", {"id": "2", "email": "jane@example.com"})
    apply("app.uninstalled", "app", "app.uninstalled", UNINSTALLED)
    named = {**SHOP, "customer": CUSTOMER, "orders_to_redact": [299938], "orders_requested": [299938]}
    apply("customer.redacted", "privacy_request", "customer.redacted", named)
    apply(
        "customer.data_requested", "privacy_request", "customer.data_requested", {**named, "data_request": {"id": 9}}
    )
    return [row[0] for row in inbox.sql("SELECT id FROM sender_request ORDER BY id")]


def test_requests_are_listed_newest_first_page_by_page_and_filtered(admin: Desk, asked: list[int]) -> None:
    page = admin.get("/v1/requests?limit=2")
    rest = admin.get(f"/v1/requests?limit=2&cursor={page['next']}")
    assert [one["id"] for one in [*page["items"], *rest["items"]]] == asked[::-1]
    assert rest["next"] is None
    assert [one["kind"] for one in rest["items"]] == ["leave"]
    assert len(admin.get("/v1/requests?status=waiting&source=shop")["items"]) == 3
    assert admin.get("/v1/requests?status=done")["items"] == []
    assert admin.get("/v1/requests?source=nobody")["items"] == []
    assert admin.refused("GET", "/v1/requests?status=open") == (400, "field-invalid")


def test_what_is_kept_of_a_customer_is_shown_to_the_digit_page_by_page_and_of_nobody_else(
    admin: Desk, asked: list[int]
) -> None:
    for kept, count in (("entities", 3), ("events", 3)):
        path, found = f"/v1/requests/{asked[2]}/{kept}?limit=1", []
        cursor: str | None = ""
        while cursor is not None:
            answer = admin.call("GET", f"{path}{cursor and f'&cursor={cursor}'}")
            assert answer.json is not None
            found += answer.json["items"]
            assert "jane" not in answer.text
            cursor = answer.json["next"]
        assert len({str(one) for one in found}) == len(found) == count, kept
    assert "12345678901234567890.10" in admin.call("GET", f"/v1/requests/{asked[2]}/entities").text
    # A request about no customer holds nobody's data.
    assert admin.get(f"/v1/requests/{asked[0]}/entities") == {"items": [], "next": None}
    for cursor in ("AAAA", "WyJ4Il0"):  # the second is ["x"]
        path = f"/v1/requests/{asked[2]}/events?cursor={cursor}"
        assert admin.refused("GET", path) == (400, "field-invalid")


def test_an_admin_confirms_and_it_is_carried_out_and_written_down(
    admin: Desk, inbox: Inbox, resources: Resources, asked: list[int]
) -> None:
    confirmed = admin.done("POST", f"/v1/requests/{asked[1]}/confirm", status=202)
    assert (confirmed["status"], confirmed["decided_by"]) == ("confirmed", f"key:ops#{admin.key_id}")
    assert sender_requests.carry_out_due(resources.engine, GRACE) == 1
    done = admin.get(f"/v1/requests/{asked[1]}")
    assert (done["status"], "email" in done["subject"]) == ("done", False)
    assert inbox.data("191167", "customer") is None
    assert admin.refused("POST", f"/v1/requests/{asked[1]}/confirm") == (404, "request-unknown")
    (entry,) = admin.get("/v1/audit?action=request.confirmed")["items"]
    assert (entry["actor"], entry["subject"]) == (f"key:ops#{admin.key_id}", f"request:{asked[1]}")


def test_an_admin_dismisses_and_a_source_that_was_leaving_stays(
    admin: Desk, inbox: Inbox, resources: Resources, asked: list[int]
) -> None:
    dismissed = admin.done("POST", f"/v1/requests/{asked[0]}/dismiss", status=200)
    assert dismissed["status"] == "dismissed"
    assert dismissed["done_at"] is not None
    inbox.sql("UPDATE sender_request SET received_at = received_at - interval '73 hours'")
    sender_requests.carry_out_due(resources.engine, GRACE)
    assert inbox.sql("SELECT enabled, leaving_since FROM source") == [(True, None)]
    assert len(admin.get("/v1/audit?action=request.dismissed")["items"]) == 1


def test_whoever_is_no_admin_decides_nothing_and_a_limited_key_sees_its_own_only(
    flask_app: Flask, inbox: Inbox, asked: list[int]
) -> None:
    with transaction(inbox.engine) as session:
        configured.add(session, inbox.vault, "other", "standard", inbox.secret, {})
    mine, theirs = (Desk(flask_app, inbox, Scope.WRITE, [name]) for name in ("shop", "other"))
    for word in ("confirm", "dismiss"):
        assert mine.refused("POST", f"/v1/requests/{asked[0]}/{word}") == (403, "scope-missing")
    assert len(mine.get("/v1/requests")["items"]) == 3
    assert theirs.get("/v1/requests")["items"] == []
    for path in (f"/v1/requests/{asked[2]}", f"/v1/requests/{asked[2]}/entities", f"/v1/requests/{asked[2]}/events"):
        assert mine.get(path)
        assert theirs.refused("GET", path) == (404, "request-unknown")
    assert inbox.sql("SELECT DISTINCT status FROM sender_request") == [(0,)]


@pytest.mark.parametrize("number", ODD_IDS, ids=range(len(ODD_IDS)))
def test_a_request_that_is_not_there_is_404(admin: Desk, number: str) -> None:
    for method, path in (("GET", ""), ("GET", "/entities"), ("POST", "/confirm"), ("POST", "/dismiss")):
        assert admin.refused(method, f"/v1/requests/{number}{path}") == (404, "request-unknown")
    assert admin.refused("DELETE", f"/v1/keys/{number}") == (404, "key-unknown")
