"""A secret, another one and options for each kind of source, and strategies for JSON."""

import base64
from typing import Any

from hypothesis import strategies as st

from app.sources.kinds import KINDS

WHSEC = "whsec_" + base64.b64encode(b"a key of thirty-two whole bytes.").decode()
WHSEC_2 = "whsec_" + base64.b64encode(b"some other key of thirty-two ...").decode()
SECRETS = dict.fromkeys(KINDS, "it's a secret to everybody") | {"standard": WHSEC, "squarespace": "a0" * 32}
OTHERS = dict.fromkeys(KINDS, "it's a secret to anybody") | {"standard": WHSEC_2, "squarespace": "a1" * 32}
CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("elasticpath", {}),
    ("standard", {}),
    ("standard", {"id_pointer": "/id", "version_pointer": "/meta"}),
    ("hmac", {}),
    ("hmac", {"encoding": "base64", "algorithm": "sha512", "prefix": "π="}),
    ("adobe-io", {}),
    ("adobe-io", {"client_id": "us"}),
    ("shopify", {}),
    ("squarespace", {}),
    ("bigcommerce", {}),
    ("cloudevents", {}),
    ("cloudevents", {"order_by": "sequence", "entity_pointer": "/data/type", "id_pointer": "/data/id"}),
    ("cloudevents", {"auth": "hmac", "encoding": "base64", "prefix": "π=", "version_pointer": "/data/updated_at"}),
    ("hmac", {"secret_encoding": "utf8", "type_header": "x-shopify-topic"}),
    ("hmac", {"vendor": "stripe"}),
    ("hmac", {"vendor": "woocommerce"}),
    ("hmac", {"vendor": "github", "trust_type_header": True}),
    ("hmac", {"header": "x-wc-webhook-signature", "type_header": "x-type", "id_pointer": "/id", "data_pointer": "/a"}),
    ("hmac", {"header": "stripe-signature", "entity_pointer": "/type", "id_pointer": "/data/id", "reuses_ids": True}),
    ("hmac", {"signed_timestamp": True, "key_header": "Webhook-Id"}),
    ("hmac", {"signed_timestamp": True, "encoding": "base64", "key_pointer": "/id", "id_pointer": "/id"}),
    (
        "hmac",
        {
            "type_pointer": "/triggered_by",
            "entity_pointer": "/type",
            "operation_pointer": "/attempt",
            "sequence_pointer": "/timestamp",
            "version_pointer": "/meta",
            "version_clock": "counter",
            "data_pointer": "/data",
        },
    ),
]
NAMES = [
    "id", "type", "data", "payload", "resources", "triggered_by", "meta", "timestamps", "updated_at", "created_at",
    "published_at", "timestamp", "configuration", "secret_key", "integration", "attempt",
    "scope", "topic", "subject", "time", "sequence", "source", "specversion", "eventid", "value", "sku", "orderId",
    "lastEditDate", "admin_graphql_api_id", "customer", "shop_id", "product", "data_request",
    "object", "related_object", "created", "account", "action", "arg", "issue", "hook", "hook_id", "repository",
]  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["currency.updated", "cart.deleted", "catalog-release.created", "settings", "2026-11-06T21:20:00Z", "1.0"]
    )
    | st.sampled_from(["store/product/deleted", "store/1/", "order.create", "com.adobe.x.catalog_product_save_after"])
    | st.sampled_from(["com.adobe.commerce.plugin.a.coupon.delete", "com.example.PriceDeleted", ".", "a.", ".deleted"])
    | st.sampled_from(
        ["customer.subscription.deleted", "balance.available", "invoice.upcoming", "v2.core.a[b].updated"]
    )
    | st.sampled_from(["", "{", '{"data":{"id":"x"}}', "[[]]", "a" * 600])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=8)
    ),
    max_leaves=20,
)
