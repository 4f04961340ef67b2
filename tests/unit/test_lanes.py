"""The default mapping: what changes prices is urgent, what only records waits."""

import re
from typing import Any

import pytest

from app.models import Lane
from app.priority import read_policy, shipped
from app.priority.default import DOCUMENT
from tests.support.factories import incoming


@pytest.mark.parametrize(
    ("event_type", "lane"),
    [
        ("price.updated", Lane.HIGH),
        ("pricebook.updated", Lane.HIGH),
        ("price_list_record.updated", Lane.HIGH),
        ("price_list.activated", Lane.HIGH),
        ("sku_inventory.updated", Lane.HIGH),
        ("channel_inventory_product.out_of_stock_reached", Lane.HIGH),
        ("channel_inventory_product.stock_changed", Lane.HIGH),
        ("promotion.started", Lane.HIGH),
        ("campaign.stopped", Lane.HIGH),
        ("campaign.launched", Lane.HIGH),
        ("discount.deleted", Lane.HIGH),
        ("promotion.updated", Lane.HIGH),
        ("product.out_of_stock", Lane.HIGH),
        ("variant.out_of_stock", Lane.HIGH),
        ("catalog-release.updated", Lane.HIGH),
        ("catalog-rule.updated", Lane.HIGH),
        ("stock-transaction.created", Lane.HIGH),
        ("inventory_level.updated", Lane.HIGH),
        ("segment.updated", Lane.MEDIUM),
        ("content.published", Lane.MEDIUM),
        ("metaobject.updated", Lane.MEDIUM),
        ("file.created", Lane.MEDIUM),
        ("currency.updated", Lane.MEDIUM),
        ("customer.created", Lane.MEDIUM),
        ("account-member.updated", Lane.MEDIUM),
        ("customer_group.updated", Lane.MEDIUM),
        ("customer_tags.tags_added", Lane.MEDIUM),
        ("segment_membership.joined_segment", Lane.MEDIUM),
        ("sales_rule.updated", Lane.HIGH),
        ("catalog_rule.updated", Lane.HIGH),
        ("discount.redeemcode_added", Lane.MEDIUM),
        ("lead.captured", Lane.MEDIUM),
        ("order.created", Lane.MEDIUM),
        ("product.updated", Lane.MEDIUM),
        ("extension.uninstalled", Lane.MEDIUM),
        ("something.else", Lane.MEDIUM),
        ("log.written", Lane.LOW),
        ("analytics.recorded", Lane.LOW),
        ("page_view.recorded", Lane.LOW),
        ("price.resynced", Lane.LOW),
        ("product.imported", Lane.LOW),
        ("stock.bulk_updated", Lane.LOW),
    ],
)
def test_an_event_goes_to_the_lane_of_its_kind(event_type: str, lane: Lane) -> None:
    # An amount is what the made-up bodies hold else, and a product that carries a price is another case.
    decision = shipped().decide(incoming(event_type, data={"id": "1"}))
    assert decision.lane is lane
    assert 0 <= decision.priority <= 9
    assert decision.reasons[-1] == "the shipped policy"


@pytest.mark.parametrize(
    ("event_type", "data", "lane", "rule"),
    [
        ("inventory_level.updated", {"available": 0}, Lane.HIGH, "nothing left is a stock-out"),
        ("inventory_level.updated", {"available": 3}, Lane.MEDIUM, "stock that is left is no stock-out"),
        ("inventory_level.updated", {"available": None}, Lane.HIGH, "stock is urgent"),
        ("stock_item.updated", {"qty": "0.0000"}, Lane.HIGH, "nothing left is a stock-out"),
        ("stock_item.updated", {"is_in_stock": False}, Lane.HIGH, "not in stock is a stock-out"),
        ("stock_item.updated", {"is_in_stock": "0"}, Lane.HIGH, "not in stock is a stock-out"),
        (
            "sku_inventory.updated",
            {"inventory": {"method": "absolute", "value": 7}},
            Lane.MEDIUM,
            "stock set to something is no stock-out",
        ),
        (
            "sku_inventory.updated",
            {"inventory": {"method": "absolute", "value": 0}},
            Lane.HIGH,
            "stock set to nothing is a stock-out",
        ),
        ("sku_inventory.updated", {"inventory": {"method": "relative", "value": 7}}, Lane.HIGH, "stock is urgent"),
        # What a booking took is not what is left.
        ("stock-transaction.created", {"quantity": 5}, Lane.HIGH, "stock is urgent"),
        ("product.updated", {"variants": [{"price": "9.99"}]}, Lane.HIGH, "products that carry a price are urgent"),
        ("product.updated", {"name": "A name"}, Lane.MEDIUM, "everything else is medium"),
    ],
)
def test_what_a_body_says_counts(event_type: str, data: dict[str, Any], lane: Lane, rule: str) -> None:
    decision = shipped().decide(incoming(event_type, data=data))
    assert (decision.lane, decision.rule) == (lane, rule)


def test_a_promotion_far_away_can_wait_and_one_that_starts_now_cannot() -> None:
    far = incoming("promotion.updated", data={"starts_at": "2026-11-27T06:00:00Z"})
    assert shipped().decide(far, at=1_764_000_000.0).lane is Lane.MEDIUM
    near = shipped().decide(far, at=1_795_759_200.0 - 60)
    assert (near.lane, near.priority) == (Lane.HIGH, 9)
    assert near.score == 90


def test_a_score_is_told_with_every_factors_part() -> None:
    body = {"starts_at": "2026-11-27T06:00:00Z", "expected_revenue": "100000", "brand_tier": "Core"}
    decision = shipped().decide(incoming("campaign.started", data=body), at=1_795_759_200.0)
    assert decision.reasons == (
        "starts and stops of promotions are urgent",
        "score 92 = urgency 100 x 47% + revenue 80 x 29% + brand 70 x 6% + event 100 x 18%; not known: audience",
        "a score of 90 and more: priority 9",
        "the shipped policy",
    )


def test_the_shipped_policy_is_in_its_one_form() -> None:
    document = read_policy(DOCUMENT).document()
    assert read_policy(document).document() == document
    assert len({rule["name"] for rule in document["rules"]}) == len(DOCUMENT["rules"])


def test_every_noun_of_the_shipped_policy_can_be_an_entity_type() -> None:
    for rule in DOCUMENT["rules"]:
        for noun in rule["when"].get("entity_type", []):
            assert re.fullmatch(r"[a-z][a-z_-]*", noun), noun
