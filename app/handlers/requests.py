"""Owns what in a sender's event is a request to leave, to erase or to list, and records it. Pure but for ``record``.

Nothing is done here: not every sender signs the topics that ask, so a request waits for a grace period or for a
person (``app/privacy/sender_requests.py``). Never commits.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
import structlog
from sqlalchemy import text

from app.db.pipeline import DEFERRED, Executor
from app.events.incoming import JsonObject, JsonValue, StoredEvent
from app.models import RequestKind

_LOG = structlog.get_logger()
# Records what a sender asks, once for its event.
_RECORD = text("""
WITH made AS (
    INSERT INTO sender_request (event_id, source_id, kind, subject, received_at)
    VALUES (:event_id, :source_id, :kind, CAST(:subject AS jsonb), :received_at)
    ON CONFLICT DO NOTHING RETURNING source_id, kind, received_at)
UPDATE source s SET leaving_since = made.received_at FROM made
WHERE s.id = made.source_id AND made.kind = 1 AND s.leaving_since IS NULL
""")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a sender asks."""

    kind: RequestKind
    subject: dict[str, Any]


def wish(event_type: str, data: JsonValue) -> Wish | None:
    """Return what an event asks, or None where it asks nothing or its body isn't that of such a request."""
    if not isinstance(data, dict):
        return None
    leaver = _leaver(event_type, data)
    if leaver is not None:
        return Wish(RequestKind.LEAVE, leaver)
    shop = {"shop_id": _id(data.get("shop_id")), "shop": _text(data, "shop_domain")}
    if event_type == "shop.redacted" and data.get("shop_domain"):
        return Wish(RequestKind.ERASE_SHOP, shop)
    customer = data.get("customer")
    if event_type not in _CUSTOMER or not isinstance(customer, dict) or _id(customer.get("id")) is None:
        return None
    orders = data.get("orders_to_redact") or data.get("orders_requested") or []
    return Wish(
        _CUSTOMER[event_type],
        {
            **shop,
            "customer_id": _id(customer.get("id")),
            "email": _text(customer, "email"),
            "orders": [found for order in (orders if isinstance(orders, list) else []) if (found := _id(order))],
        },
    )


def _leaver(event_type: str, data: JsonObject) -> dict[str, Any] | None:
    """Return who takes the app or the extension off, in Shopify's, BigCommerce's or Squarespace's form, or None."""
    if event_type == "app.uninstalled" and data.get("myshopify_domain"):
        return {"shop_id": _id(data.get("id")), "shop": _text(data, "myshopify_domain")}
    if event_type == "app.uninstalled" and (_text(data, "scope") or "").strip("/") == "store/app/uninstalled":
        # What happened to BigCommerce's store is told about the store, so this is the whole notification.
        return {"shop_id": _id(data.get("store_id")), "shop": _text(data, "producer")}
    if event_type == "extension.uninstalled" and data.get("clientId"):
        return {"client_id": _text(data, "clientId")}
    return None


_CUSTOMER = {
    "customer.redacted": RequestKind.ERASE_CUSTOMER,
    "customer.data_requested": RequestKind.LIST_CUSTOMER,
}


def record(session: Executor, event: StoredEvent, data: JsonValue) -> None:
    """Record what an event asks, if it asks anything; a source whose sender leaves is marked."""
    asked = wish(event.type, data)
    if asked is None:
        return
    values = {
        "event_id": event.id,
        "source_id": event.source_id,
        "kind": int(asked.kind),
        "subject": orjson.dumps(asked.subject).decode(),
        "received_at": event.received_at,
    }
    session.execute(_RECORD, values, execution_options=DEFERRED)
    kind = asked.kind.name.lower()
    _LOG.warning("a sender asks to leave, erase or list", action="sender_request", kind=kind)


def _id(value: JsonValue) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        return None
    return str(value).replace("\x00", "") or None


def _text(data: JsonObject, name: str) -> str | None:
    value = data.get(name)
    return value.replace("\x00", "") if isinstance(value, str) else None
