"""WooCommerce's topics, held against the signed body. Source: ``WC_Webhook`` in woocommerce/woocommerce.

The topic stands in headers, which aren't signed. The body of a delete is an id and nothing else, which no save's is:
so a topic and a body that contradict each other are refused, unless the option ``trust_type_header`` is set.
"""

import hashlib
import re
from dataclasses import replace
from functools import lru_cache

from app.errors import FieldInvalid
from app.events.incoming import JsonObject, Operation
from app.sources.kinds import fields
from app.sources.kinds.catalogue import Locator, Topic, catalogue
from app.sources.kinds.hmac_config import HmacConfig
from app.sources.kinds.hmac_vendor import Vendor
from app.sources.kinds.kind import Greeting, Hello, Outgoing, Request

_ACTION = "action.<hook>"
_RECURRING = ({"id"}, {"action", "arg"})
"""The fields of bodies that come again: of a delete, and of a hook's action."""
_EVENT = Locator.read("event")
_PING = re.compile(rb"webhook_id=[0-9]{1,20}")


def topic(request: Request, _body: JsonObject) -> str:
    """Return the topic of the headers: ``X-WC-Webhook-Topic``, else resource and event; empty where there is none."""
    headers = request.headers
    name = headers.get("x-wc-webhook-topic", "")
    if not name and "x-wc-webhook-resource" in headers:
        name = f"{headers['x-wc-webhook-resource']}.{headers.get('x-wc-webhook-event', '')}"
    return fields.to_bytes(name).decode(errors="replace")


def key(request: Request, body: JsonObject, _config: HmacConfig) -> tuple[str, str | None]:
    """Return the idempotency key, which is the body's hash.

    The body of a delete comes again when a product is put into the bin, restored and put there again; an action's
    does, too. There topic and delivery id count as well, or every second time would be lost. The header
    ``X-WC-Webhook-Delivery-ID`` alone is no key: all events of a webhook in one second share it.
    """
    if body.keys() not in _RECURRING:
        return request.body_sha256, None
    told = [request.headers.get(f"x-wc-webhook-{name}", "") for name in ("topic", "resource", "event", "delivery-id")]
    return hashlib.sha256(b"\0".join([request.body_sha256.encode(), *map(fields.to_bytes, told)])).hexdigest(), None


def row(name: str, body: JsonObject) -> Topic:
    """Return what a topic means.

    Raises:
        FieldInvalid: it names nothing.
    """
    if name.startswith("action."):
        return _action(name, body)
    known = catalogue("woocommerce").get(name)
    if known is not None:
        return known
    found = _by_rule(name)
    return found if body.get("id") not in (None, "") else replace(found, id=_EVENT)


def check(row: Topic, body: JsonObject) -> None:
    """Hold a topic against the body: a delete's is an id and nothing else, which no save's is.

    Raises:
        FieldInvalid: the one contradicts the other.
    """
    if row.topic == _ACTION:
        return
    deletes, bare = row.operation is Operation.DELETE, body.keys() == {"id"}
    if deletes and not bare:
        raise FieldInvalid(
            f"{row.type} isn't signed, and the body of a delete is an id only (option trust_type_header)"
        )
    if bare and not deletes:
        raise FieldInvalid(
            f"{row.type} isn't signed, and its body would be more than an id (option trust_type_header)"
        )


def _action(name: str, body: JsonObject) -> Topic:
    hook = body.get("action")  # signed, which the topic isn't
    found = _action_of(f"action.{hook}" if isinstance(hook, str) and hook else name)
    try:
        fields.identifier(body.get("arg"), "/arg")
    except FieldInvalid:  # the first argument of a hook may be anything
        return replace(found, id=_EVENT)
    return found


@lru_cache(1024)
def _action_of(name: str) -> Topic:
    # Of each hook an entity type of its own: the same argument of two hooks may be an order and a product.
    event_type = fields.topic_label(name, "the topic")
    return replace(catalogue("woocommerce")[_ACTION], type=event_type, entity_type=event_type.lower())


@lru_cache(1024)
def _by_rule(name: str) -> Topic:
    """Return what a topic says that the catalogue doesn't have: extensions add theirs, as ``subscription.updated``."""
    event_type = fields.topic_label(name, "the topic")
    operation = fields.operation(event_type)
    saved = catalogue("woocommerce")["product.updated"]
    return replace(
        saved,
        topic=name,
        type=event_type,
        entity_type=fields.noun(event_type),
        operation=operation,
        version=() if operation is Operation.DELETE else saved.version,
    )


def headers(outgoing: Outgoing) -> dict[str, str]:
    """Return the headers with topic and delivery."""
    resource, _, event = outgoing.type.partition(".")
    told = {"topic": outgoing.type, "resource": resource, "event": event, "delivery-id": outgoing.external_id}
    return {f"x-wc-webhook-{name}": fields.to_header(value) for name, value in told.items()}


def greet(hello: Hello) -> Greeting | None:
    """Answer the unsigned ping that WooCommerce sends when a webhook is saved: it must get 200."""
    return Greeting({}) if hello.method == "POST" and _PING.fullmatch(hello.body) else None


VENDOR = Vendor(topic, row, key=key, check=check, headers=headers)
