"""Owns the sources that are fuzzed, of every kind, and the sound bodies that their senders could send. Pure."""

from collections.abc import Callable
from typing import Any

Body = dict[str, Any]

SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "fuzz-standard": ("standard", {}),
    "fuzz-elasticpath": ("elasticpath", {}),
    "fuzz-adobe": ("adobe-io", {"client_id": "fuzz"}),
    "fuzz-shopify": ("shopify", {"currency": "EUR"}),
    "fuzz-squarespace": ("squarespace", {}),
    "fuzz-bigcommerce": ("bigcommerce", {}),
    "fuzz-cloudevents": ("cloudevents", {}),
    "fuzz-cloudevents-hmac": ("cloudevents", {"auth": "hmac", "id_pointer": "/data/id"}),
    "fuzz-github": ("hmac", {}),
    "fuzz-stripe": (
        "hmac",
        {"header": "stripe-signature", "signed_timestamp": True, "key_pointer": "/id", "data_pointer": "/data"},
    ),
    "fuzz-counter": (
        "hmac",
        {
            "key_header": "x-key",
            "version_pointer": "/revision",
            "version_clock": "counter",
            "sequence_pointer": "/seq",
        },
    ),
}


def sound(kind: str, number: int, mark: str = "sound") -> Body:
    """Return a body that this kind's senders could send; ``mark`` stands in its id, its texts and a key."""
    at = f"2026-01-01T00:00:{number % 60:02d}Z"
    data = {"id": f"{mark}-{number % 500}", "amount": "1.00", "currency": "EUR", "note": mark, mark: 1}
    return _BODIES.get(kind, _plain)(f"{mark}-{number}", number, at, data)


def _elasticpath(key: str, _number: int, at: str, data: Body) -> Body:
    entity = {**data, "type": "price", "meta": {"timestamps": {"created_at": at, "updated_at": at}}}
    shared = {"id": key, "triggered_by": "price.updated", "integration": {"id": "i", "name": data["note"]}}
    return {**shared, "attempt": 1, "resources": "{}", "payload": {"data": entity}}


def _adobe(key: str, _number: int, at: str, data: Body) -> Body:
    code = "com.adobe.commerce.observer.price_save_commit_after"
    value = {**data, "entity_id": data["id"], "updated_at": at}
    made = {"id": key, "eventid": key, "specversion": "1.0", "type": code, "time": at}
    return {**made, "recipientclientid": "fuzz", "data": {"value": value}}


def _shopify(_key: str, number: int, at: str, data: Body) -> Body:
    return {**data, "updated_at": at, "admin_graphql_api_id": f"gid://shopify/Price/{number}"}


def _squarespace(key: str, _number: int, at: str, data: Body) -> Body:
    return {"id": key, "topic": "price.update", "createdOn": at, "websiteId": data["note"], "data": data}


def _bigcommerce(_key: str, number: int, _at: str, data: Body) -> Body:
    made = {"scope": "store/price/updated", "store_id": data["note"], "created_at": 1_767_225_600 + number % 60}
    return {**made, "producer": "stores/x", "data": {**data, "type": "price"}}


def _cloudevents(key: str, number: int, at: str, data: Body) -> Body:
    event = {"specversion": "1.0", "id": key, "source": "/fuzz", "type": "price.updated", "time": at}
    return {**event, "subject": data["id"], "sequence": str(number), "data": data}


def _plain(key: str, number: int, at: str, data: Body) -> Body:
    body = {"id": key, "type": "price.updated", "timestamp": at, "revision": number, "seq": number % 3}
    return {**body, "data": {**data, "updated_at": at}}


_BODIES: dict[str, Callable[[str, int, str, Body], Body]] = {
    "adobe-io": _adobe,
    "bigcommerce": _bigcommerce,
    "cloudevents": _cloudevents,
    "elasticpath": _elasticpath,
    "shopify": _shopify,
    "squarespace": _squarespace,
}
