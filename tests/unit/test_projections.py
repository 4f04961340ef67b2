"""Typed rows: what is taken from a sender's object, and what is refused rather than guessed."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.handlers import HANDLERS, handler_for, projections
from app.handlers.registry import NotedRows, NotProjectable, Row, Shop


@pytest.mark.parametrize(
    "data",
    [
        {"amount": "19.90", "currency": "eur", "sku": "X"},
        {"amount": Decimal("19.90"), "currency": "EUR", "sku": "X"},
        {"price": {"amount": "19.90", "currency": "EUR"}, "sku": "X"},
        {"amount": None, "price": "19.90", "currency": "EUR", "sku": "X"},
    ],
)
def test_a_price_is_an_exact_amount_and_its_currency(data: dict[str, Any]) -> None:
    assert projections.price(data) == [{"sku": "X", "amount": Decimal("19.90"), "currency": "EUR", "compare_at": None}]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"amount": "19.90"},
        {"currency": "EUR"},
        {"amount": "many", "currency": "EUR"},
        {"amount": True, "currency": "EUR"},
        {"amount": "NaN", "currency": "EUR"},
        {"amount": "1e99", "currency": "EUR"},
        {"amount": [], "currency": "EUR"},
        {"amount": "1", "currency": "EURO"},
        {"amount": "1", "currency": "1€a"},
        {"amount": "1", "currency": "EUR", "compare_at": "much"},
    ],
)
def test_what_is_no_price_makes_no_row(data: dict[str, Any]) -> None:
    with pytest.raises(NotProjectable):
        projections.price(data)


def test_a_campaign_has_its_schedule_in_aware_utc() -> None:
    (row,) = projections.campaign(
        {
            "name": "BF",
            "starts_at": "2026-11-27T01:00:00+01:00",
            "ends_at": 1795824000,
            "budget": "5",
            "currency": "USD",
        }
    )
    assert row["starts_at"] == datetime(2026, 11, 27, tzinfo=UTC)
    assert row["ends_at"] == datetime(2026, 11, 28, tzinfo=UTC)
    assert (row["budget"], row["currency"]) == (Decimal(5), "USD")


@pytest.mark.parametrize("when", ["soon", "2026-13-01T00:00:00Z", 10**18, True])
def test_what_is_no_time_makes_no_row(when: object) -> None:
    with pytest.raises(NotProjectable):
        projections.campaign({"starts_at": when})


def test_a_promotion_takes_a_percentage_or_an_amount() -> None:
    (percent,) = projections.promotion({"code": "BF", "percent_off": 20})
    (amount,) = projections.promotion({"title": "BF", "amount_off": "5.00", "currency": "EUR"})
    assert (percent["code"], percent["percent_off"]) == ("BF", Decimal(20))
    assert (amount["name"], amount["amount_off"], amount["currency"]) == ("BF", Decimal("5.00"), "EUR")


def test_a_segment_counts_its_members_only_where_the_count_is_one() -> None:
    assert projections.segment({"name": "VIP", "members": 7})[0]["members"] == 7
    assert projections.segment({"name": "VIP", "members": 2**40})[0]["members"] is None
    assert projections.segment({"name": ["VIP"]})[0]["name"] is None


def test_content_a_currency_and_a_lead_take_their_fields() -> None:
    assert projections.content({"title": "Sale\x00!", "handle": "sale"})[0]["title"] == "Sale!"
    (currency,) = projections.currency({"code": "chf", "exchange_rate": "0.93", "enabled": True, "default": "no"})
    assert currency == {"code": "CHF", "exchange_rate": Decimal("0.93"), "enabled": True, "is_default": None}
    with pytest.raises(NotProjectable):
        projections.currency({})
    assert projections.lead({"email": "a@example.com"})["email"] == "a@example.com"


def test_every_handler_either_projects_or_not() -> None:
    assert all(
        (handler.model is None) == (handler.rows is None and handler.shop_rows is None)
        for handler in HANDLERS.values()
    )
    assert handler_for("anything else").model is None


def rule(shop: Shop | None = None, **data: Any) -> tuple[Row, list[str]]:
    found = projections.sales_rule({"name": "Fog week", **data}, Shop("EUR") if shop is None else shop)
    assert isinstance(found, NotedRows)
    (row,) = found
    return row, list(found.notes)


@pytest.mark.parametrize(
    ("action", "percent_off", "amount_off"),
    [
        ("by_percent", Decimal(15), None),
        ("to_percent", Decimal(85), None),
        ("by_fixed", None, Decimal(15)),
        ("cart_fixed", None, Decimal(15)),
    ],
)
def test_a_rules_number_is_what_its_action_says(
    action: str, percent_off: Decimal | None, amount_off: Decimal | None
) -> None:
    row, notes = rule(simple_action=action, discount_amount="15.0000")
    assert (row["percent_off"], row["amount_off"]) == (percent_off, amount_off)
    assert row["currency"] == (None if amount_off is None else "EUR")
    assert not notes


@pytest.mark.parametrize("action", ["to_fixed", "buy_x_get_y", "an_extensions_own", None])
def test_of_an_action_that_is_no_discount_the_number_is_left_out_with_a_note(action: str | None) -> None:
    row, notes = rule(simple_action=action, discount_amount="15.0000")
    assert (row["name"], row["percent_off"], row["amount_off"], row["currency"]) == ("Fog week", None, None, None)
    assert len(notes) == 1
    assert str(action) in notes[0]


def test_a_rule_loses_no_row_by_a_field_that_can_not_be_read() -> None:
    row, notes = rule(simple_action="by_fixed", discount_amount="much", from_date="soon", to_date="2026-12-05")
    assert (row["amount_off"], row["starts_at"]) == (None, None)
    assert row["ends_at"] == datetime(2026, 12, 5, 23, 59, 59, tzinfo=UTC)
    assert notes == [
        "discount_amount isn't a number: it was left out",
        "from_date isn't a time: it was left out",
    ]
    row, notes = rule(Shop(), simple_action="by_fixed", discount_amount="15")
    assert (row["name"], row["amount_off"], row["currency"]) == ("Fog week", None, None)
    assert "option currency" in notes[0]
    assert rule(Shop(), simple_action="by_percent", discount_amount="15")[1] == []


@pytest.mark.parametrize("nothing", ["", None, {}, [], "0000-00-00", "0000-00-00 00:00:00", {"date": None}])
def test_what_magento_writes_for_no_date_is_none(nothing: object) -> None:
    row, notes = rule(from_date=nothing, to_date=nothing)
    assert (row["starts_at"], row["ends_at"], notes) == (None, None, [])


@pytest.mark.parametrize(
    "day",
    [
        "2026-12-05",
        "2026-12-05 00:00:00",
        "2026-12-05 00:00:00.000000",
        {"date": "2026-12-05 00:00:00.000000", "timezone_type": 3, "timezone": "UTC"},
    ],
)
def test_a_day_begins_with_its_first_moment_and_ends_with_its_last_second(day: object) -> None:
    row, notes = rule(from_date=day, to_date=day)
    assert row["starts_at"] == datetime(2026, 12, 5, tzinfo=UTC)
    assert row["ends_at"] == datetime(2026, 12, 5, 23, 59, 59, tzinfo=UTC)
    assert not notes
    (coupon,) = projections.promotion({"code": "FOGHORN", "expiration_date": day})
    assert coupon["ends_at"] == row["ends_at"]


def test_a_time_of_day_is_kept_and_a_coupon_without_a_readable_end_keeps_its_row() -> None:
    assert rule(to_date="2026-12-05 18:30:00")[0]["ends_at"] == datetime(2026, 12, 5, 18, 30, tzinfo=UTC)
    rows = projections.promotion({"code": "FOGHORN", "expiration_date": "soon"})
    assert isinstance(rows, NotedRows)
    assert (rows[0]["code"], rows[0]["ends_at"]) == ("FOGHORN", None)
    assert rows.notes == ["expiration_date isn't a time: it was left out"]


@pytest.mark.parametrize(
    ("told", "status"), [("1", "active"), (True, "active"), (0, "inactive"), ("false", "inactive"), (None, None)]
)
def test_a_rule_is_active_however_its_flag_is_written(told: object, status: str | None) -> None:
    assert rule(is_active=told)[0]["status"] == status


def test_tier_prices_have_no_row_and_are_told_of() -> None:
    product = {"sku": "LH-7", "price": "49.50", "tier_price": [{"price_qty": "5"}, {"price_qty": "9"}]}
    rows = projections.product(product, Shop("EUR"))
    assert isinstance(rows, NotedRows)
    assert [row["amount"] for row in rows] == [Decimal("49.50")]
    assert "2 tier prices" in rows.notes[0]
    assert projections.product({**product, "tier_price": []}, Shop("EUR")) == list(rows)
