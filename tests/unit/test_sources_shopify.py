"""Shopify: every topic of the catalogue, what unsigned headers can't do to a signed body, and unknown topics."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.cli import bodies
from app.cli.bodies import Example
from app.errors import FieldInvalid
from app.events.incoming import Clock, Completeness, Incoming, Operation
from app.handlers import handler_for
from app.sources.kinds import KINDS, Request, shopify_topics
from app.sources.kinds.catalogue import Topic, catalogue
from app.sources.kinds.kind import Outgoing
from app.sources.kinds.read import read
from app.sources.kinds.shopify_events import PRIVACY

KIND = KINDS["shopify"]
SECRET = "a client secret of the app"  # noqa: S105  # not one
AT = 1_794_000_000.5
TIME = "2026-11-06T21:19:00.250+01:00"
TOPICS = catalogue("shopify")
GID = "gid://shopify/Product/8801"
PRODUCT: dict[str, Any] = {"id": 8801, "admin_graphql_api_id": GID, "title": "Oak table", "updated_at": TIME}
every_topic = pytest.mark.parametrize("topic", TOPICS.values(), ids=list(TOPICS))


def deliver(
    name: str, body: dict[str, Any], config: dict[str, Any] | None = None, /, **headers: str
) -> list[Incoming]:
    raw = json.dumps(body).encode()
    options = KIND.config.model_validate(config or {})
    signed = KIND.sign(Outgoing("key-1", "product.updated", raw, AT), SECRET, options)
    told = {f"x-shopify-{header.replace('_', '-')}": value for header, value in headers.items()}
    request = Request({**signed, "x-shopify-topic": name, **told}, raw, AT)
    KIND.verify(request, [SECRET], options)
    assert KIND.split(request, options) is None
    return list(read(KIND, request, [SECRET], options, "shop").events)


def put(body: dict[str, Any], pointer: str, value: object) -> None:
    *steps, last = pointer.removeprefix("/").split("/")
    for step in steps:
        body = body.setdefault(step, {})
    body[last] = value


def documented(topic: Topic) -> tuple[dict[str, Any], list[str]]:
    """Return a body of a topic, and the ids in it."""
    body: dict[str, Any] = {}
    if topic.data_pointer:
        put(body, f"{topic.data_pointer}/note", "A")
    if topic.topic != "shop/redact":
        body |= {"note": "A", "fulfillment_id": 91, "myshopify_domain": None}
    if topic.entity_type == PRIVACY:
        body |= {"shop_domain": "north-oak.myshopify.com"} | ({"customer": {}} if topic.topic.startswith("c") else {})
    ids = []
    for number, pointer in enumerate(topic.id.paths[0] if topic.id.paths else ()):
        ids.append(f"{9_007_199_254_740_993 + number}")
        put(body, (topic.id.each or "") + pointer, int(ids[-1]))
    for pointer in topic.version:
        put(body, pointer, "7001" if topic.counts else TIME)
    return body, ids


@every_topic
def test_a_documented_body_is_what_the_catalogue_says(topic: Topic) -> None:
    body, ids = documented(topic)
    (event,) = deliver(topic.topic, body)
    assert (event.type, event.entity_type, event.operation) == (topic.type, topic.entity_type, topic.operation)
    wanted = topic.id.constant or "/".join(ids) or "key-1"
    assert event.entity_id == (f"{topic.type}/{wanted}" if topic.entity_type == PRIVACY else wanted)
    assert event.version is not None
    assert event.version.text == (("7001" if topic.counts else TIME) if topic.version else "2026-11-06T21:20:00.500Z")
    assert event.version.clock is (Clock.COUNTER if topic.counts else Clock.TIME)
    assert (event.sequence is None) is (not topic.version)
    assert event.fact is (True if topic.fact or topic.id.is_event else None)
    assert event.state is (topic.state and not topic.id.is_event)
    assert event.data_pointer == (topic.id.each or topic.data_pointer)


@every_topic
def test_without_its_documented_id_a_body_is_nobodys(topic: Topic) -> None:
    if topic.id.is_event or topic.id.constant is not None:
        return
    body, _ = documented(topic)
    pointer = (topic.id.each or "") + topic.id.paths[0][-1]
    put(body, pointer, None)
    with pytest.raises(FieldInvalid, match=f"^{pointer} is missing"):
        deliver(topic.topic, body)


@every_topic
def test_a_products_body_under_another_topic_touches_nothing_but_the_product(topic: Topic) -> None:
    wrapped = {**PRODUCT, topic.data_pointer.removeprefix("/") or "note": PRODUCT}
    for body in (PRODUCT, {**PRODUCT, "admin_graphql_api_id": None, "id": GID}, wrapped):
        try:
            events = deliver(topic.topic, body)
        except FieldInvalid:
            continue
        for event in events:
            assert not event.state or (event.entity_type == "product" and event.operation is not Operation.DELETE)


@every_topic
def test_a_cut_products_body_deletes_nothing_whatever_its_topic(topic: Topic) -> None:
    try:
        events = deliver(topic.topic, {"id": 8801, "title": "Oak table", "updated_at": TIME})
    except FieldInvalid:
        return
    assert not any(event.state and event.operation is Operation.DELETE for event in events)


def test_every_type_stands_for_one_topic_which_is_found_however_it_is_written() -> None:
    assert len({topic.type for topic in TOPICS.values()}) == len(TOPICS) == 219
    for topic in TOPICS.values():
        assert shopify_topics.write(topic.type) == topic.topic
        for written in (topic.topic, topic.type, topic.topic.replace("/", "."), topic.topic.replace("/", " ")):
            assert shopify_topics.type_of(written) == topic.type


def keys(name: str, body: dict[str, Any], **headers: str) -> set[str | None]:
    return {event.content_key for event in deliver(name, body, **headers)}


LATER = {"webhook_id": "w-2", "event_id": "e-2", "triggered_at": "2026-11-06T22:00:00Z"}


@pytest.mark.parametrize(
    ("name", "body", "comes_again"),
    [
        ("products/update", PRODUCT, False),
        ("products/delete", {"id": 8801}, False),
        ("orders/paid", {"id": 9, "total_price": "9.90", "updated_at": TIME}, False),
        ("refunds/create", {"id": 9, "order_id": 7}, False),
        ("discounts/redeemcode_added", {"redeem_code": {"id": "c", "code": "OAK15"}, "updated_at": TIME}, False),
        ("variants/in_stock", {"id": 1, "inventory_quantity": 4, "updated_at": TIME}, True),
        ("markets/update", {"id": 1, "status": "active"}, True),
        ("locales/create", {"locale": "de-AT", "published": True}, True),
        ("locales/destroy", {"locale": "de-AT", "published": True}, True),
        ("product_listings/remove", {"product_listing": {"product_id": 8801}}, True),
        ("product_publications/delete", {"id": 4}, True),
        ("customer.left_segment", {"segment_id": "s", "customer_id": "c"}, True),
        ("fulfillment_orders/hold_released", {"fulfillment_order": {"id": "f", "status": "open"}}, True),
        ("subscription_billing_attempts/success", {}, True),
        ("app/uninstalled", {"id": 4, "name": "N", "myshopify_domain": None}, True),
        ("widgets/refresh", {"id": 4, "colour": "red"}, True),
        ("widgets/refresh", {"id": 4, "colour": "red", "updated_at": TIME}, False),
    ],
)
def test_the_same_body_is_known_again_unless_it_may_rightly_come_again(
    name: str, body: dict[str, Any], comes_again: bool
) -> None:
    assert keys(name, body) == keys(name, body, webhook_id="w-2")
    assert (keys(name, body) != keys(name, body, **LATER)) is comes_again
    # A second subscription has a webhook id of its own; without an event id, only that tells two apart.
    bare = keys(name, body, event_id="", webhook_id="w-1")
    assert (bare != keys(name, body, event_id="", webhook_id="w-2")) is comes_again


def test_a_save_is_known_under_any_topic_that_says_no_more_but_what_happened_is_not() -> None:
    saved = keys("products/update", PRODUCT)
    assert keys("products/create", PRODUCT) == saved
    assert keys("orders/updated", {**PRODUCT, "admin_graphql_api_id": None}) == keys(
        "products/update", {**PRODUCT, "admin_graphql_api_id": None}
    )
    order = {"id": 9, "updated_at": TIME, "total_price": "9.90"}
    assert len({*keys("orders/updated", order), *keys("orders/paid", order), *keys("orders/cancelled", order)}) == 3


def test_a_sources_own_rules_may_tell_two_topics_of_one_body_apart() -> None:
    rules = {"mapping": {"customers/enable": {"event_type": "customer.welcomed", "id": "/id", "as": "fact"}}}
    body = {"id": 5, "state": "enabled", "updated_at": TIME}
    (welcomed,) = deliver("customers/enable", body, rules)
    (saved,) = deliver("customers/update", body, rules)
    assert (welcomed.type, welcomed.fact, saved.type) == ("customer.welcomed", True, "customer.updated")
    assert welcomed.content_key != saved.content_key
    assert welcomed.sequence == saved.sequence is not None


def test_stock_that_goes_and_comes_within_one_second_is_ordered_by_the_header() -> None:
    body = {"id": 1, "inventory_quantity": 4, "updated_at": TIME}
    (first,), (third,) = deliver("variants/in_stock", body), deliver("variants/in_stock", body, **LATER)
    assert first.version == third.version
    assert first.sequence is not None
    assert third.sequence is not None
    assert first.sequence < third.sequence


def variants(count: int) -> list[dict[str, Any]]:
    return [{"id": number, "price": "1.00"} for number in range(count)]


@pytest.mark.parametrize(
    ("told", "completeness", "notes"),
    [
        ({"variants": variants(2), "variant_gids": [{}, {}]}, Completeness.COMPLETE, []),
        ({"variants": variants(2)}, Completeness.COMPLETE, []),
        ({"variants": []}, Completeness.COMPLETE, []),
        ({"variants": variants(2), "variant_gids": [{}]}, Completeness.COMPLETE, []),
        ({"variants": variants(2), "variant_gids": [{}] * 3}, Completeness.PARTIAL, ["1 variant came"]),
        ({"variants": variants(100), "variant_gids": [{}] * 250}, Completeness.PARTIAL, ["150 variants came"]),
        ({}, Completeness.PARTIAL, []),
        ({"variants": None}, Completeness.PARTIAL, []),
    ],
)
def test_a_product_is_complete_unless_variants_are_left_out(
    told: dict[str, Any], completeness: Completeness, notes: list[str]
) -> None:
    (event,) = deliver("products/update", {**PRODUCT, **told})
    assert event.completeness is completeness
    assert [note[: len(start)] for note, start in zip(event.notes, notes, strict=True)] == notes
    listing = {"product_listing": {"product_id": 8801, "title": "Oak table", **told}}
    assert deliver("product_listings/update", listing)[0].completeness is completeness


def test_a_redeem_codes_topics_leave_the_discount_alone() -> None:
    body = {"admin_graphql_api_id": "gid://shopify/DiscountCodeNode/1", "updated_at": TIME}
    for name in ("discounts/redeemcode_added", "discounts/redeemcode_removed"):
        (event,) = deliver(name, {**body, "redeem_code": {"id": "gid://shopify/DiscountRedeemCode/2", "code": "A"}})
        assert (event.entity_type, event.entity_id, event.fact) == (
            "discount_code",
            "gid://shopify/DiscountRedeemCode/2",
            None,
        )
        assert not any(handler_for(noun).is_fact(event.type) for noun in ("discount", "discount_code"))


def names() -> Iterator[str]:
    yield from ("", "-", "no slash", "a-b/c-d", "Orders/Paid", "s/update", "a/b/c", "x" * 300, "price.deleted", "é/ü")


@given(name=st.text(min_size=1, max_size=60) | st.sampled_from(list(names())) | st.from_regex(r"[a-z]+[/.][a-z_]+"))
@example(name="products/destroy")
@example(name="product.removed")
def test_an_unknown_topic_is_kept_where_an_id_is_found_and_deletes_no_save(name: str) -> None:
    header = name.encode("utf-8", "surrogatepass").decode("latin-1")
    saved = {"id": 8801, "title": "Oak table", "updated_at": TIME}
    try:
        known = shopify_topics.of_type(shopify_topics.type_of(name))
    except FieldInvalid:
        return
    if known is not None:
        return
    (event,) = deliver(header, {"id": 8801, "title": "Oak table"})
    assert event.entity_id == "8801"
    assert event.entity_type == event.type.partition(".")[0].lower()
    try:
        (again,) = deliver(header, saved)
    except FieldInvalid as error:
        assert event.operation is Operation.DELETE
        assert "a save's" in str(error)  # noqa: PT017  # not every topic deletes
    else:
        assert again.operation is not Operation.DELETE


@pytest.mark.parametrize(
    "held", [{}, {"id": None}, {"id": True}, {"id": [1]}, {"id": 1.5}, {"order_id": 9}, {"id": ""}]
)
def test_an_unknown_topic_whose_body_has_no_id_is_an_entity_of_its_own(held: dict[str, Any]) -> None:
    (event,) = deliver("widgets/update", {**held, "colour": "red"})
    assert (event.entity_type, event.entity_id, event.fact, event.state) == ("widget", "key-1", True, False)


def test_a_missing_topic_is_named_and_a_rule_may_still_take_the_body() -> None:
    for name in ("", " "):
        with pytest.raises(FieldInvalid, match="x-shopify-topic"):
            deliver(name, PRODUCT)
    rules = {"mapping": {"*": {"event_type": "thing.seen", "id": "/id"}}}
    assert deliver("", PRODUCT, rules)[0].type == "thing.seen"


HELD_TO_MORE = {"app.uninstalled", "customer.data_requested", "customer_account_setting.updated", "shop.redacted"} | {
    "fulfillment_event.deleted"
}
"""Types of which an id alone makes no body: ``tiercel send`` needs one given."""


@pytest.mark.parametrize("topic", [topic for topic in TOPICS.values() if topic.type not in HELD_TO_MORE])
def test_what_send_makes_is_read_as_its_type(topic: Topic) -> None:
    wanted = Example("key-1", topic.type, None, 1, AT, SECRET, KIND.config())
    (event,) = deliver(topic.topic, json.loads(bodies.body("shopify", wanted)))
    assert (event.type, event.operation) == (topic.type, topic.operation)
    assert event.state is (topic.state and not topic.id.is_event)


def test_what_shopify_does_with_refusals_is_said() -> None:
    assert "removes a subscription" in KIND.refusals
