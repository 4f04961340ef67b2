"""What the vendors of the kind ``hmac`` don't sign and what holds all the same; pings, amounts, and what we send."""

import pytest

from app.cli import bodies
from app.cli.bodies import Example
from app.errors import FieldInvalid
from app.events.incoming import Completeness, Incoming, JsonObject, Operation
from app.sources.kinds import Request, github_events
from app.sources.kinds.hmac import KIND
from app.sources.kinds.hmac_config import HmacConfig, VendorName
from app.sources.kinds.kind import Hello, Outgoing
from app.sources.kinds.read import read
from tests.support.vendor_deliveries import AT, NAMES, SECRET, receive

WOO = HmacConfig(vendor="woocommerce")
SAVED = {"id": 31, "date_modified_gmt": "2026-11-06T21:19:00", "name": "Lamp"}


def woo(body: JsonObject, topic: str, delivery: str = "d-1", config: HmacConfig = WOO) -> Incoming:
    return receive(body, {"x-wc-webhook-topic": topic, "x-wc-webhook-delivery-id": delivery}, config)[0]


def test_a_saves_body_is_known_again_under_every_header() -> None:
    keys = {
        woo(SAVED, topic, delivery).external_id for topic in ("order.updated", "order.created") for delivery in "ab"
    }
    assert len(keys) == 1


def test_a_second_delete_of_what_was_restored_is_another_event() -> None:
    assert woo({"id": 31}, "product.deleted", "a").external_id != woo({"id": 31}, "product.deleted", "b").external_id
    assert woo({"id": 31}, "product.deleted").external_id != woo({"id": 31}, "customer.deleted").external_id
    assert woo({"id": 31}, "product.deleted").external_id == woo({"id": 31}, "product.deleted").external_id


def test_two_deletes_of_one_second_are_two_events() -> None:
    assert woo({"id": 31}, "product.deleted").external_id != woo({"id": 32}, "product.deleted").external_id


@pytest.mark.parametrize("topic", ["product.deleted", "subscription.deleted", "x.removed"])
def test_an_old_save_under_a_deletes_topic_deletes_nothing(topic: str) -> None:
    with pytest.raises(FieldInvalid, match="option trust_type_header"):
        woo(SAVED, topic)
    assert (
        woo(SAVED, topic, config=HmacConfig(vendor="woocommerce", trust_type_header=True)).operation.name == "DELETE"
    )


@pytest.mark.parametrize("topic", ["product.updated", "product.restored", "booking.moved"])
def test_a_delete_under_a_saves_topic_empties_nothing(topic: str) -> None:
    with pytest.raises(FieldInvalid, match="option trust_type_header"):
        woo({"id": 31}, topic)


def test_a_type_header_that_is_trusted_deletes_for_any_sender() -> None:
    body = {"data": {"id": 1}}
    options: JsonObject = {"header": "x-signature", "type_header": "x-type"}
    with pytest.raises(FieldInvalid, match="trust_type_header"):
        receive(body, {"x-type": "a.deleted"}, HmacConfig.model_validate(options))
    trusted = HmacConfig.model_validate({**options, "trust_type_header": True})
    assert receive(body, {"x-type": "a.deleted"}, trusted)[0].operation is Operation.DELETE


def test_a_public_event_is_no_repositorys_delete() -> None:
    """Its body has no action, and what any delete of a repository has besides."""
    body = {"repository": {"id": 1}, "sender": {"id": 2}}
    with pytest.raises(FieldInvalid, match="trust_type_header"):
        receive(body, {"x-github-event": "repository.deleted"}, HmacConfig(vendor="github"))


@pytest.mark.parametrize(
    ("config", "method", "body", "answered"),
    [
        ({"vendor": "woocommerce"}, "POST", b"webhook_id=12", True),
        ({"header": "x-wc-webhook-signature"}, "POST", b"webhook_id=12", True),
        ({"vendor": "woocommerce"}, "POST", b"webhook_id=12&x=1", False),
        ({"vendor": "woocommerce"}, "POST", b"webhook_id=", False),
        ({"vendor": "woocommerce"}, "POST", b"webhook_id=12\n", False),
        ({"vendor": "woocommerce"}, "POST", b'{"id":31}', False),
        ({"vendor": "woocommerce"}, "POST", "webhook_id=\u0661".encode(), False),
        ({"vendor": "woocommerce"}, "GET", b"webhook_id=12", False),
        ({"vendor": "stripe"}, "POST", b"webhook_id=12", False),
        ({}, "POST", b"webhook_id=12", False),
    ],
)
def test_only_woocommerces_ping_is_answered_unsigned(
    config: JsonObject, method: str, body: bytes, answered: bool
) -> None:
    hello = Hello(method, {"content-type": "application/x-www-form-urlencoded"}, {}, body)
    assert (KIND.greet(hello, HmacConfig.model_validate(config)) is not None) == answered


@pytest.mark.parametrize("type_", ["issue.opened", "hook.pinged", "pull_request.labeled", "push.received", "x.y"])
def test_githubs_event_of_a_type_is_found(type_: str) -> None:
    event, action = github_events.event_of(type_)
    name = event if event in {"ping", "push"} else f"{event}.{action}"
    assert github_events.row(name, {}).type == type_


SENT = {
    "stripe": ["price.updated", "customer.subscription.deleted", "brand.new"],
    "woocommerce": ["product.updated", "order.deleted", "coupon.restored"],
    "github": [
        "issue.opened",
        "issue_comment.deleted",
        "star.deleted",
        "repository.deleted",
        "hook.pinged",
        "new.one",
    ],
}


@pytest.mark.parametrize(("name", "type_"), [(name, type_) for name in NAMES for type_ in SENT[name]])
@pytest.mark.parametrize("data", [None, {"id": 12, "note": "given"}])
def test_what_tiercel_sends_as_a_vendor_is_understood(name: VendorName, type_: str, data: JsonObject | None) -> None:
    config = HmacConfig(vendor=name)
    deletes = type_.endswith(".deleted")
    given_data = None if deletes and name == "woocommerce" else data
    wanted = Example("key-1", type_, given_data, 3, AT, SECRET, config)
    body = bodies.body("hmac", wanted)
    headers = KIND.sign(Outgoing("key-1", type_, body, AT), SECRET, config)
    request = Request(headers, body, AT)
    KIND.verify(request, [SECRET], config)
    (event,) = read(KIND, request, [SECRET], config, "shop").events
    assert event.type == type_
    assert (event.operation is Operation.DELETE) == deletes
    assert bodies.default_type("hmac", config) in SENT[name]


@pytest.mark.parametrize("field", ["amount", "amount_off", "unit_amount", "unit_amount_decimal"])
@pytest.mark.parametrize("entity_type", ["price", "coupon", "promotion", "campaign"])
def test_no_amount_of_stripes_reaches_a_typed_row(field: str, entity_type: str) -> None:
    """They are in minor units; typed rows' are in major ones. Also where an option names the entity type."""
    body = {"type": "plan.updated", "created": 1, "data": {"object": {"object": "plan", "id": "p", field: 500}}}
    (event,) = receive(body, {}, HmacConfig(vendor="stripe", entity_type=entity_type))
    assert event.completeness is Completeness.THIN
    assert "minor units" in event.notes[0]
    (other,) = receive(body, {}, HmacConfig(vendor="stripe", entity_type="order"))
    assert (other.completeness, other.notes) == (Completeness.COMPLETE, ())
