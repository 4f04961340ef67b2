"""Owns the business rules: what becomes of each kind of event. The whole registry stands on this screen.

An entity type that isn't named here is plain state: its newest version is kept in ``entity``.
"""

from app.handlers import projections
from app.handlers.registry import Handler, Retries
from app.models import Campaign, ContentItem, Currency, Price, Promotion, Segment

_PAID = frozenset({"authorized", "paid", "fulfilled", "cancelled", "refunded"})
# What only records isn't worth many tries: a person should see early that it can't be recorded.
_FEW = Retries(max_attempts=3)
_REDEEMED = frozenset({"redeemed"})

HANDLERS: dict[str, Handler] = {
    "campaign": Handler(Campaign, projections.campaign, facts=frozenset({"triggered"})),
    "promotion": Handler(Promotion, projections.promotion, facts=_REDEEMED),
    "discount": Handler(Promotion, projections.promotion, facts=_REDEEMED),
    "discount_code": Handler(Promotion, projections.discount_code),
    "coupon": Handler(Promotion, projections.promotion, facts=_REDEEMED),
    "sales_rule": Handler(Promotion, shop_rows=projections.sales_rule),
    "catalog_rule": Handler(Promotion, shop_rows=projections.sales_rule),
    "price": Handler(Price, projections.price),
    "product": Handler(Price, shop_rows=projections.product, many=True),
    "product_listing": Handler(Price, shop_rows=projections.product, many=True),
    "segment": Handler(Segment, projections.segment),
    "customer_group": Handler(Segment, projections.segment),
    "catalog-release": Handler(ContentItem, projections.catalog_release),
    "collection": Handler(ContentItem, projections.content),
    "metaobject": Handler(ContentItem, projections.content),
    "content": Handler(ContentItem, projections.content),
    "content_item": Handler(ContentItem, projections.content),
    "page": Handler(ContentItem, projections.content),
    "file": Handler(ContentItem, projections.content),
    "currency": Handler(Currency, projections.currency),
    "app": Handler(facts=frozenset({"uninstalled"}), asks=True),
    "extension": Handler(facts=frozenset({"uninstalled"}), asks=True),
    "privacy_request": Handler(always_fact=True, asks=True),
    "lead": Handler(always_fact=True),
    "customer_tags": Handler(always_fact=True),
    "order": Handler(facts=_PAID),
    "transaction": Handler(always_fact=True),
    "stock-transaction": Handler(always_fact=True),
    "log": Handler(always_fact=True, retries=_FEW),
    "analytics": Handler(always_fact=True, retries=_FEW),
}

_PLAIN = Handler()


def handler_for(entity_type: str) -> Handler:
    """Return the rule for an entity type."""
    return HANDLERS.get(entity_type, _PLAIN)
