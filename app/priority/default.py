"""Owns the policy that Tiercel ships, as data. The form is ``policy``'s; docs/priorities.md says it in words.

What changes what a customer sees or pays -> high; what shapes who sees it -> medium; what only records -> low. The
nouns are those of every kind of source: each platform has its own.
"""

from typing import Any

_PRICES = [
    "price", "prices", "product_price", "variant_price", "tier_price", "special_price", "price_list", "pricelist",
    "price-list", "price_list_record", "pricebook", "price_book", "catalog-release", "catalog_release", "catalog-rule",
    "catalog_rule", "catalogrule",
]  # fmt: skip
_PROMOTIONS = [
    "campaign", "promotion", "promotions", "discount", "discount_code", "coupon", "coupon_code", "voucher", "offer",
    "sale", "flash_sale", "salesrule", "sales_rule", "salesrule_rule", "cart_rule", "cart_price_rule", "price_rule",
]  # fmt: skip
_STARTS_AND_STOPS = [
    "started", "stopped", "ended", "launched", "activated", "deactivated", "enabled", "disabled", "paused", "resumed",
    "cancelled", "canceled", "expired", "published", "unpublished", "archived", "deleted", "removed",
]  # fmt: skip
_STOCK = [
    "stock", "stock_item", "stock-item", "stock_status", "inventory", "inventory_level", "inventory_item",
    "inventory_source_item", "sku_inventory", "product_inventory", "channel_inventory_product",
]  # fmt: skip
_STOCK_AND_BOOKINGS = [*_STOCK, "stock-transaction", "stock_transaction"]
_PRODUCTS = ["product", "product_listing", "variant", "product_variant", "sku", "simple_product"]
_LEFT = [
    "/available", "/quantity_available", "/available_quantity", "/qty", "/quantity", "/inventory_quantity",
    "/inventory_level", "/stock", "/level", "/total_available",
]  # fmt: skip
_IN_STOCK = ["/is_in_stock", "/in_stock", "/is_available"]
# BigCommerce tells either what is left or, by the method "relative", by how much it changed.
_SET_TO = {"pointer": "/inventory/method", "op": "eq", "value": "absolute"}
_PRICE_OF_A_PRODUCT = [
    "/price", "/variants/0/price", "/product_listing/variants/0/price", "/special_price", "/sale_price", "/prices",
    "/attributes/price", "/variant/price",
]  # fmt: skip
_CUSTOMERS = [
    "customer", "customer_group", "customer-group", "customer_address", "customer_tags", "account",
    "account-member", "address", "profile", "subscriber", "contact", "member", "company",
]  # fmt: skip
_LOGS = [
    "log", "logs", "event_log", "access_log", "audit", "audit_log", "analytics", "analytic", "metric", "metrics",
    "statistic", "telemetry", "heartbeat", "report", "export", "page_view", "pageview", "screen_view", "view",
    "impression", "click", "visit", "session", "track",
]  # fmt: skip

_START = [
    "/starts_at", "/start_at", "/start_date", "/start_time", "/startsAt", "/from_date", "/valid_from", "/starts_on",
    "/start", "/campaign/starts_at", "/schedule/starts_at",
]  # fmt: skip
_END = [
    "/ends_at", "/end_at", "/end_date", "/end_time", "/endsAt", "/to_date", "/valid_to", "/valid_until", "/expires_at",
    "/ends_on", "/end", "/campaign/ends_at", "/schedule/ends_at",
]  # fmt: skip
_REVENUE = ["/expected_revenue", "/expected_revenue/amount", "/forecast/revenue", "/campaign/expected_revenue"]
_ROI = ["/expected_roi", "/roi", "/forecast/roi", "/campaign/expected_roi"]
_AUDIENCE = ["/audience_size", "/audience/size", "/recipients", "/members", "/reach", "/campaign/audience_size"]
_BRAND = ["/brand_weight", "/brand/weight", "/campaign/brand_weight"]
_BRAND_TIER = ["/brand_tier", "/brand/tier", "/campaign/brand_tier"]
_HOUR, _DAY = 3_600, 86_400

_RULES: list[dict[str, Any]] = [
    {
        "name": "bulk re-syncs wait",
        "when": {"verb": ["resynced", "resync", "synced", "imported", "reindexed", "backfilled", "bulk_*"]},
        "lane": "low",
        "priority": 1,
    },
    {
        "name": "stock-outs are urgent",
        "when": {"verb": ["out_of_stock", "out_of_stock_reached", "sold_out", "stocked_out", "stock_out", "depleted"]},
        "lane": "high",
        "priority": 9,
    },
    {
        "name": "nothing left is a stock-out",
        "when": {"entity_type": _STOCK, "payload": [{"pointer": _LEFT, "op": "le", "value": 0}]},
        "lane": "high",
        "priority": 9,
    },
    {
        "name": "not in stock is a stock-out",
        "when": {"entity_type": _STOCK, "payload": [{"pointer": _IN_STOCK, "op": "in", "value": [False, 0]}]},
        "lane": "high",
        "priority": 9,
    },
    {
        "name": "stock that is left is no stock-out",
        "when": {"entity_type": _STOCK, "payload": [{"pointer": _LEFT, "op": "gt", "value": 0}]},
        "lane": "medium",
        "priority": 6,
    },
    {
        "name": "stock set to nothing is a stock-out",
        "when": {
            "entity_type": _STOCK,
            "payload": [_SET_TO, {"pointer": "/inventory/value", "op": "le", "value": 0}],
        },
        "lane": "high",
        "priority": 9,
    },
    {
        "name": "stock set to something is no stock-out",
        "when": {
            "entity_type": _STOCK,
            "payload": [_SET_TO, {"pointer": "/inventory/value", "op": "gt", "value": 0}],
        },
        "lane": "medium",
        "priority": 6,
    },
    {
        "name": "stock is urgent",
        "when": {"entity_type": _STOCK_AND_BOOKINGS},
        "lane": "high",
        "priority": 6,
    },
    {"name": "prices are urgent", "when": {"entity_type": _PRICES}, "lane": "high", "priority": 8},
    {
        "name": "starts and stops of promotions are urgent",
        "when": {"entity_type": _PROMOTIONS, "verb": _STARTS_AND_STOPS},
        "lane": "high",
    },
    {"name": "promotions go by their score", "when": {"entity_type": _PROMOTIONS}},
    {
        "name": "products that carry a price are urgent",
        "when": {"entity_type": _PRODUCTS, "payload": [{"pointer": _PRICE_OF_A_PRODUCT, "op": "exists"}]},
        "lane": "high",
        "priority": 5,
    },
    {"name": "logs and analytics wait", "when": {"entity_type": _LOGS}, "lane": "low", "priority": 0},
    {
        "name": "leads are answered soon",
        "when": {"entity_type": ["lead", "form_submission"]},
        "lane": "medium",
        "priority": 7,
    },
    {"name": "currencies", "when": {"entity_type": ["currency", "exchange_rate"]}, "lane": "medium", "priority": 7},
    {
        "name": "segments",
        "when": {"entity_type": ["segment", "segment_membership", "audience", "list"]},
        "lane": "medium",
        "priority": 5,
    },
    {
        "name": "content",
        "when": {"entity_type": ["content", "content_item", "page", "block", "file", "metaobject", "article", "blog"]},
        "lane": "medium",
        "priority": 5,
    },
    {"name": "customers", "when": {"entity_type": _CUSTOMERS}, "lane": "medium", "priority": 4},
]

_MATRIX: dict[str, Any] = {
    "when": {"entity_type": _PROMOTIONS},
    "factors": {
        "urgency": {
            "weight": 40,
            "start": _START,
            "end": _END,
            "breakpoints": [[0, 100], [_HOUR, 95], [6 * _HOUR, 80], [_DAY, 60], [7 * _DAY, 25], [30 * _DAY, 5]],
            "running": 60,
        },
        "revenue": {
            "weight": 25,
            "readings": [
                {
                    "pointer": _REVENUE,
                    "breakpoints": [[0, 0], [1_000, 20], [10_000, 50], [100_000, 80], [1_000_000, 100]],
                },
                {"pointer": _ROI, "breakpoints": [[0, 0], [1, 30], [3, 70], [10, 100]]},
            ],
        },
        "audience": {
            "weight": 15,
            "readings": [
                {"pointer": _AUDIENCE, "breakpoints": [[0, 0], [1_000, 30], [100_000, 70], [1_000_000, 100]]}
            ],
        },
        "brand": {
            "weight": 5,
            "readings": [
                {"pointer": _BRAND, "breakpoints": [[0, 0], [100, 100]]},
                {"pointer": _BRAND_TIER, "values": {"flagship": 100, "core": 70, "standard": 50, "outlet": 20}},
            ],
        },
        "event": {
            "weight": 15,
            "types": [
                {"type": [f"*.{verb}" for verb in _STARTS_AND_STOPS], "points": 100},
                {"type": ["*.redeemed", "*.redeemcode_*", "*.applied", "*.triggered"], "points": 35},
                {"type": "*.created", "points": 60},
            ],
            "otherwise": 65,
        },
    },
    "thresholds": [
        {"score": 90, "lane": "high", "priority": 9},
        {"score": 75, "lane": "high", "priority": 8},
        {"score": 60, "lane": "high", "priority": 7},
        {"score": 45, "lane": "high", "priority": 6},
        {"score": 30, "lane": "medium", "priority": 6},
        {"score": 15, "lane": "medium", "priority": 4},
        {"score": 0, "lane": "medium", "priority": 2},
    ],
}

DOCUMENT: dict[str, Any] = {
    "rules": _RULES,
    "matrix": _MATRIX,
    "otherwise": {"name": "everything else is medium", "lane": "medium", "priority": 5},
}
