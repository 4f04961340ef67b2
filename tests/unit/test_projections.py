"""Typed rows: what is taken from a sender's object, and what is refused rather than guessed."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.handlers import HANDLERS, handler_for, projections
from app.handlers.registry import NotProjectable


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
