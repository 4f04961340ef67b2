"""Owns which of a sender's fields fill which typed columns; one function a typed model."""

from app.handlers import fields
from app.handlers.registry import NotProjectable, Row
from app.incoming import JsonObject


def campaign(data: JsonObject) -> list[Row]:
    """Return a campaign's row."""
    budget, currency = fields.money(data, "budget")
    return [
        {
            "name": fields.text(data, "name", "title"),
            "status": fields.text(data, "status", "state"),
            "starts_at": fields.time(data, "starts_at", "start_date", "start_at"),
            "ends_at": fields.time(data, "ends_at", "end_date", "end_at"),
            "budget": budget,
            "currency": currency,
        }
    ]


def promotion(data: JsonObject) -> list[Row]:
    """Return a promotion's row."""
    amount_off, currency = fields.money(data, "amount_off", "discount_amount")
    return [
        {
            "name": fields.text(data, "name", "title"),
            "code": fields.text(data, "code", "coupon_code"),
            "status": fields.text(data, "status", "state"),
            "starts_at": fields.time(data, "starts_at", "start_date", "from_date"),
            "ends_at": fields.time(data, "ends_at", "end_date", "to_date"),
            "percent_off": fields.decimal(data, "percent_off", "percentage"),
            "amount_off": amount_off,
            "currency": currency,
        }
    ]


def price(data: JsonObject) -> list[Row]:
    """Return a price's row; a price without an amount and its currency isn't one."""
    amount, currency = fields.money(data, "amount", "price", "value")
    if amount is None or currency is None:
        raise NotProjectable("a price needs an amount and its currency")
    compare_at, _ = fields.money(data, "compare_at", "compare_at_price", "list_amount")
    sku = fields.text(data, "sku", "product_id", "variant_id")
    return [{"sku": sku, "amount": amount, "currency": currency, "compare_at": compare_at}]


def segment(data: JsonObject) -> list[Row]:
    """Return a segment's row."""
    return [
        {
            "name": fields.text(data, "name", "title"),
            "definition": fields.text(data, "definition", "query", "rule"),
            "members": fields.integer(data, "members", "member_count", "size"),
        }
    ]


def content(data: JsonObject) -> list[Row]:
    """Return a content item's row."""
    return [
        {
            "title": fields.text(data, "title", "name"),
            "slug": fields.text(data, "slug", "handle", "path"),
            "status": fields.text(data, "status", "state"),
            "published_at": fields.time(data, "published_at", "publish_at"),
        }
    ]


def currency(data: JsonObject) -> list[Row]:
    """Return a currency's row; a currency without its code isn't one."""
    code = fields.currency(data, "code", "id")
    if code is None:
        raise NotProjectable("a currency needs its code")
    return [
        {
            "code": code,
            "exchange_rate": fields.decimal(data, "exchange_rate", "rate"),
            "enabled": fields.flag(data, "enabled"),
            "is_default": fields.flag(data, "default", "is_default"),
        }
    ]


def lead(data: JsonObject) -> Row:
    """Return the columns of a captured lead."""
    return {
        "email": fields.text(data, "email", "email_address"),
        "name": fields.text(data, "name", "full_name"),
        "campaign": fields.text(data, "campaign", "campaign_id"),
    }
