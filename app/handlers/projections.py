"""Owns which of a sender's fields fill which typed columns; one function a typed model."""

from decimal import Decimal

from app.events.incoming import JsonObject
from app.handlers import fields
from app.handlers.registry import NotedRows, NotProjectable, Row, Shop

_ACTIVE = {"1": "active", "true": "active", "0": "inactive", "false": "inactive"}


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
    notes: list[str] = []
    amount_off, currency = fields.money(data, "amount_off", "discount_amount")
    ends_at = fields.time(data, "ends_at", "end_date", "to_date")
    row = {
        "name": fields.text(data, "name", "title"),
        "code": fields.text(data, "code", "coupon_code"),
        "status": fields.text(data, "status", "state"),
        "starts_at": fields.time(data, "starts_at", "start_date", "from_date"),
        "ends_at": ends_at or fields.optional(notes, fields.day, data, "expiration_date", ends=True),
        "percent_off": fields.decimal(data, "percent_off", "percentage"),
        "amount_off": amount_off,
        "currency": currency,
    }
    return NotedRows([row], notes)


def discount_code(data: JsonObject) -> list[Row]:
    """Return the row of a code that was added to a discount: Shopify sends the code itself and nothing else of it."""
    told = data.get("redeem_code")
    rows = promotion(told if isinstance(told, dict) else data)
    if rows[0]["code"] is None:
        raise NotProjectable("a discount code needs its code")
    return rows


def price(data: JsonObject) -> list[Row]:
    """Return a price's row; a price without an amount and its currency isn't one."""
    amount, currency = fields.money(data, "amount", "price", "value")
    if amount is None or currency is None:
        raise NotProjectable("a price needs an amount and its currency")
    compare_at, _ = fields.money(data, "compare_at", "compare_at_price", "list_amount")
    sku = fields.text(data, "sku", "product_id", "variant_id")
    return [{"sku": sku, "amount": amount, "currency": currency, "compare_at": compare_at}]


def product(data: JsonObject, shop: Shop) -> list[Row]:
    """Return the prices in a product: of each of Shopify's variants, or Adobe's own and its special one."""
    variants = data.get("variants")
    if isinstance(variants, list):
        return [_variant(variant, shop) for variant in variants if isinstance(variant, dict)]
    if data.get("price") is None:
        return []
    regular, currency = fields.decimal(data, "price"), _currency(data, shop)
    rows: list[Row] = [
        {"sku": fields.text(data, "sku"), "amount": regular, "currency": currency, "compare_at": None},
    ]
    if data.get("special_price") not in (None, ""):
        # Beside the other: its dates decide when it counts, and those go by.
        rows.append(
            {**rows[0], "key": "special", "amount": fields.decimal(data, "special_price"), "compare_at": regular}
        )
    tiers = data.get("tier_price")
    if isinstance(tiers, list) and tiers:
        return NotedRows(rows, [f"{len(tiers)} tier prices were left out: a typed row has no quantity and no group"])
    return rows


def _variant(variant: JsonObject, shop: Shop) -> Row:
    amount, key = fields.decimal(variant, "price"), fields.text(variant, "id", "admin_graphql_api_id")
    if amount is None or key is None:
        raise NotProjectable("a variant needs its id and its price")
    return {
        "key": key,
        "sku": fields.text(variant, "sku"),
        "amount": amount,
        "currency": _currency(variant, shop),
        "compare_at": fields.decimal(variant, "compare_at_price"),
    }


def _currency(data: JsonObject, shop: Shop) -> str:
    found = fields.currency(data, "currency", "currency_code") or shop.currency
    if found is None:
        raise NotProjectable("a price needs its currency: set the source's option currency")
    return found


def sales_rule(data: JsonObject, shop: Shop) -> list[Row]:
    """Return the promotion that a price rule of Adobe's is, for carts or for the catalogue.

    Source: ``simple_action`` in magento2 SalesRule/Model/Rule.php and CatalogRule/Helper/Data.php.
    """
    notes: list[str] = []
    percent, amount = _discount(data, notes)
    currency = None
    if amount is not None:
        currency = fields.optional(notes, fields.currency, data, "currency", "currency_code") or shop.currency
        if currency is None:
            notes.append("discount_amount was left out: its currency isn't known (the source's option currency)")
            amount = None
    row = {
        "name": fields.text(data, "name"),
        "code": fields.text(data, "coupon_code"),
        "status": _ACTIVE.get(str(data.get("is_active")).lower()),
        "starts_at": fields.optional(notes, fields.day, data, "from_date"),
        "ends_at": fields.optional(notes, fields.day, data, "to_date", ends=True),
        "percent_off": percent,
        "amount_off": amount,
        "currency": currency,
    }
    return NotedRows([row], notes)


def _discount(data: JsonObject, notes: list[str]) -> tuple[Decimal | None, Decimal | None]:
    """Return by how many per cent, or by what amount, a rule lowers the price."""
    number = fields.optional(notes, fields.decimal, data, "discount_amount")
    if number is None:
        return None, None
    action = fields.text(data, "simple_action")
    if action == "by_percent":
        return number, None
    if action == "to_percent":
        return 100 - number, None
    if action in {"by_fixed", "cart_fixed"}:
        return None, number
    # to_fixed gives the price itself, buy_x_get_y a number of pieces.
    notes.append(f"discount_amount was left out: with simple_action {action} it is no percentage and no amount off")
    return None, None


def catalog_release(data: JsonObject) -> list[Row]:
    """Return the content item that a release of one of Elastic Path's catalogues is."""
    attributes, meta = (held if isinstance(held, dict) else {} for held in (data.get("attributes"), data.get("meta")))
    # The reference has it among the attributes. Go's zero time is how Elastic Path's services may write "not yet".
    given = [held.get("published_at") for held in (attributes, meta)]
    published_at = next((value for value in given if value and not str(value).startswith("0001-")), None)
    return [
        {
            "title": fields.text({**data, **attributes}, "name", "id"),
            "slug": None,
            "status": fields.text(meta, "release_status"),
            "published_at": fields.time({"published_at": published_at}, "published_at"),
        }
    ]


def segment(data: JsonObject) -> list[Row]:
    """Return a segment's row."""
    return [
        {
            "name": fields.text(data, "name", "title", "customer_group_code"),
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
