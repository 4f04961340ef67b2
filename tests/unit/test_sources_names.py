import pytest

from app.errors import FieldInvalid
from app.sources.kinds import adobe_events, names, shopify_bodies, shopify_events, shopify_topics
from app.sources.kinds.kind import Delivery

TOPICS = [
    *(
        "products/update",
        "products/delete",
        "inventory_levels/update",
        "customers/redact",
        "shop/redact",
        "taxes/update",
    ),
    *("app/uninstalled", "customer.joined_segment", "companies/create", "variants/out_of_stock", "discounts/create"),
]


@pytest.mark.parametrize(
    ("many", "one"),
    [("products", "product"), ("companies", "company"), ("taxes", "tax"), ("addresses", "address"), ("keys", "key")],
)
def test_a_noun_has_a_singular_and_its_plural_back(many: str, one: str) -> None:
    assert (names.singular(many), names.plural(one)) == (one, many)


@pytest.mark.parametrize("word", ["shop", "app", "process", "inventory"])
def test_what_is_no_plural_stays(word: str) -> None:
    assert names.singular(word) == word


def test_a_verb_of_the_vendors_has_a_past_tense_and_any_other_word_stays() -> None:
    assert [names.past(verb) for verb in ("create", "save", "data_request", "paid")] == [
        "created",
        "updated",
        "data_requested",
        "paid",
    ]
    assert [names.present(verb) for verb in ("created", "updated", "paid")] == ["create", "update", "paid"]


def test_humps_become_underscores() -> None:
    assert [names.snake(name) for name in ("lineItem", "couponApplied", "cart")] == [
        "line_item",
        "coupon_applied",
        "cart",
    ]


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_is_what_its_type_is_written_as(topic: str) -> None:
    assert shopify_topics.write(shopify_topics.type_of(topic)) == topic


@pytest.mark.parametrize(
    "event_type", ["product.updated", "product.deleted", "coupon.deleted", "sales_rule.updated", "x.updated"]
)
def test_adobes_codes_are_what_their_types_are_written_as(event_type: str) -> None:
    assert adobe_events.read(adobe_events.write(event_type)).type == event_type
    assert adobe_events.id_field(event_type)


@pytest.mark.parametrize("written", ["customers/redact", "customer/redact", "customer.redacted", "customers/redacted"])
def test_however_a_topic_is_written_it_is_held_to_its_body(written: str) -> None:
    topic = shopify_topics.of_type(shopify_topics.type_of(written))
    assert topic is not None
    assert (topic.type, topic.entity_type) == ("customer.redacted", "privacy_request")
    with pytest.raises(FieldInvalid, match="shop_id"):
        shopify_bodies.check(topic, {"id": 1, "title": "T"})


@pytest.mark.parametrize("written", ["products/delete", "products/deleted", "product.removed", "product/remove"])
def test_however_a_delete_is_written_it_has_no_saves_body(written: str) -> None:
    body = {"id": 1, "title": "T", "updated_at": "2026-01-01T00:00:00Z"}
    delivery = Delivery(body, written, shopify_topics.type_of(written), "key-1")
    topic = shopify_topics.of_type(delivery.type)
    with pytest.raises(FieldInvalid, match="updated_at"):
        _ = shopify_events.documented(topic, delivery, "shop") if topic else shopify_events.by_rule(delivery, "shop")
