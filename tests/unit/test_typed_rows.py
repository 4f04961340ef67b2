"""The table in docs/typed-rows.md, line by line, against what the code takes from a sender's object."""

import re
from pathlib import Path
from typing import Any

import pytest

from app.events.canonical_json import parse_object, resolve
from app.handlers import HANDLERS, handler_for
from app.handlers.registry import NotProjectable, Shop
from app.sources.kinds import KINDS
from tests.support.deliveries import FIXTURES, receive

PAGE = (Path(__file__).parents[2] / "docs" / "typed-rows.md").read_text()
LINE = re.compile(r"^\| `([\w-]+)` \| `([\w-]+)` \| `(\w+)`[^|]*\| (.+) \|$", re.MULTILINE)
TABLE = {(kind, noun): (model, columns) for kind, noun, model, columns in LINE.findall(PAGE)}
VARIANT = {"id": 1, "sku": "S", "price": "19.990", "compare_at_price": "24.99"}
RULE = {
    "name": "BF",
    "is_active": "1",
    "from_date": "2026-11-27",
    "to_date": "2026-11-28",
    "discount_amount": "20.0000",
}
OBJECTS: dict[tuple[str, str], dict[str, Any]] = {
    ("shopify", "product"): {"id": 7, "title": "T", "variants": [VARIANT, {**VARIANT, "id": 2}]},
    ("shopify", "product_listing"): {"product_id": 7, "variants": [VARIANT]},
    ("shopify", "discount"): {
        "title": "BF",
        "status": "ACTIVE",
        "starts_at": "2026-11-27T00:00:00Z",
        "ends_at": "2026-11-28T00:00:00Z",
    },
    ("shopify", "discount_code"): {"admin_graphql_api_id": "gid", "redeem_code": {"id": "gid", "code": "BF26"}},
    ("shopify", "segment"): {"id": 1, "name": "VIP", "query": "number_of_orders > 3"},
    ("shopify", "customer_group"): {"id": 1, "name": "Bob", "query": "email:bob*"},
    ("shopify", "collection"): {"title": "Sale", "handle": "sale", "published_at": "2026-11-27T00:00:00Z"},
    ("shopify", "metaobject"): {"handle": "banner", "type": "banner"},
    ("adobe-io", "product"): {"sku": "S", "price": "32444.000000", "special_price": "30000.00"},
    ("adobe-io", "sales_rule"): {**RULE, "coupon_code": "BF26", "simple_action": "by_fixed"},
    ("adobe-io", "catalog_rule"): {**RULE, "simple_action": "by_percent"},
    ("adobe-io", "coupon"): {"code": "BF26", "expiration_date": "2026-11-28 00:00:00"},
    ("adobe-io", "customer_group"): {"customer_group_id": "2", "customer_group_code": "Wholesale"},
    ("elasticpath", "currency"): {"code": "EUR", "exchange_rate": 1, "enabled": True, "default": False},
    ("elasticpath", "catalog-release"): {
        "attributes": {"name": "BF", "published_at": "2026-11-27T00:00:00Z"},
        "meta": {"release_status": "PUBLISHED"},
    },
    ("elasticpath", "file"): {"name": "banner.png", "path": "/banner.png"},
}
SHOP = Shop("EUR")


def test_the_table_has_every_line_that_is_tried_here_and_no_other() -> None:
    assert set(TABLE) == set(OBJECTS)
    assert {kind for kind, _ in TABLE} <= set(KINDS)


@pytest.mark.parametrize("line", OBJECTS, ids="/".join)
def test_a_line_names_the_row_and_exactly_the_columns_that_are_filled(line: tuple[str, str]) -> None:
    model, columns = TABLE[line]
    handler = handler_for(line[1])
    assert handler.model is not None
    assert handler.model.__name__ == model
    rows = handler.rows_of(OBJECTS[line], lambda: SHOP)
    filled = {name for row in rows for name, value in row.items() if value is not None}
    assert filled == set(re.findall(r"`(\w+)` (?:←|is|of)", columns))
    for name, path in re.findall(r"`(\w+)` ← `([\w.]+)`", columns):
        first = OBJECTS[line].get("variants", [{}])[0]
        value = resolve(
            {"variants": first, **{k: v for k, v in OBJECTS[line].items() if k != "variants"}},
            "/" + path.replace(".", "/"),
        )
        assert value is not None, (name, path)


def test_the_nouns_of_other_senders_that_fill_rows_are_all_named() -> None:
    named = set(re.findall(r"`([\w-]+)`", PAGE))
    assert {noun for noun, handler in HANDLERS.items() if handler.model or noun == "lead"} <= named


def test_the_ids_that_come_again_are_those_that_the_kinds_declare() -> None:
    told: dict[str, set[str]] = {}
    for kinds, nouns in re.findall(
        r"^\| (`[^|]+) \| (`[^|]+|all or none[^|]+) \|$", PAGE.partition("## Ids that")[2], re.MULTILINE
    ):
        told |= {kind: set(re.findall(r"`(\w+)`", nouns)) for kind in re.findall(r"`([\w-]+)`", kinds)}
    assert {name: nouns for name, nouns in told.items() if nouns != {"reuses_ids"}} == {
        name: set(kind.reused_ids) for name, kind in KINDS.items() if kind.reused_ids
    }
    assert {name for name, nouns in told.items() if nouns == {"reuses_ids"}} == {
        name for name, kind in KINDS.items() if "reuses_ids" in kind.config.model_fields
    }


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*/*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_only_a_declared_entity_type_reuses_its_ids(path: Path) -> None:
    delivery = parse_object(path.read_bytes())
    kind = KINDS[path.parent.name]
    if "expect" not in delivery or "reuses_ids" in kind.config.model_fields:
        return
    for incoming in receive(path.parent.name, delivery):
        assert not incoming.reuses_ids or incoming.entity_type in kind.reused_ids


def test_every_variant_is_a_row_of_its_own_and_every_digit_is_kept() -> None:
    rows = HANDLERS["product"].rows_of(
        {"variants": [{**VARIANT, "id": 2**53 + 1}, {**VARIANT, "id": 2}]}, lambda: SHOP
    )
    assert [row["key"] for row in rows] == ["9007199254740993", "2"]
    assert str(rows[0]["amount"]) == "19.990"


def test_a_product_of_ids_only_has_no_price_and_one_without_a_currency_says_what_is_missing() -> None:
    assert HANDLERS["product"].rows_of({"type": "product", "id": 205}, lambda: SHOP) == []
    with pytest.raises(NotProjectable, match="option currency"):
        HANDLERS["product"].rows_of({"price": "1", "sku": "S"}, Shop)
    with pytest.raises(NotProjectable, match="its id and its price"):
        HANDLERS["product"].rows_of({"variants": [{"id": 1}]}, lambda: SHOP)
    own = HANDLERS["product"].rows_of({"price": "1", "currency": "chf"}, Shop)
    assert own[0]["currency"] == "CHF"


@pytest.mark.parametrize("attributes", [{}, {"published_at": None}, {"published_at": "0001-01-01T00:00:00Z"}])
def test_a_releases_time_may_stand_in_its_meta(attributes: dict[str, Any]) -> None:
    data = {"attributes": attributes, "meta": {"published_at": "2026-11-27T00:00:00Z"}}
    published_at = HANDLERS["catalog-release"].rows_of(data, Shop)[0]["published_at"]
    assert published_at is not None
    assert published_at.isoformat() == "2026-11-27T00:00:00+00:00"


def test_a_discounts_code_has_no_row_without_the_code() -> None:
    with pytest.raises(NotProjectable, match="needs its code"):
        HANDLERS["discount_code"].rows_of({"admin_graphql_api_id": "gid", "redeem_code": {"id": "gid"}}, Shop)


def test_a_release_that_is_not_published_yet_has_no_time() -> None:
    data = {"id": "r", "meta": {"published_at": "0001-01-01T00:00:00Z"}}
    assert HANDLERS["catalog-release"].rows_of(data, Shop)[0]["published_at"] is None
    assert HANDLERS["catalog-release"].rows_of({"meta": 5}, Shop)[0]["title"] is None
