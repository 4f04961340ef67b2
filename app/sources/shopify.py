"""Owns the kind ``shopify``: Shopify's HTTPS webhooks, signed with the app's client secret.

Only the body is signed. Topic, shop, time and ids stand in headers, so each of them is held against the body: what
deletes or erases must look like it, and a body that was seen is known again under other headers
(``app/sources/shopify_topics.py``). Source: shopify.dev, "Deliver webhooks through HTTPS".
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from app import versions
from app.errors import ConfigInvalid, FieldInvalid, RecipientWrong
from app.incoming import Incoming, JsonObject, Operation, Version
from app.jsontext import digest, parse_object
from app.sources import fields, shopify_topics
from app.sources.kind import Config, Kind, Outgoing, Request
from app.sources.shopify_topics import Topic

MIN_SECRET_CHARS = 8
API_VERSION = "2026-07"
"""What ``sign`` says; what is received may be of any."""
_TIMES = ("updated_at", "lastEditDate", "occurredAt", "deleted_at")
_FAMILIES = ("x-shopify-", "shopify-")


class ShopifyConfig(Config):
    """What a source of one shop may be told about it."""

    shop: fields.Domain | None = None
    """The shop's domain: one app's secret signs for every shop that installed it, so name it where there are several.
    The header that says it is not signed."""
    currency: fields.CurrencyCode | None = None
    """What the shop's prices are in: a product doesn't say."""


def _header(request: Request, name: str) -> str:
    return next((family + name for family in _FAMILIES if request.headers.get(family + name)), _FAMILIES[0] + name)


def _signature(body: bytes, secret: str) -> bytes:
    return base64.b64encode(hmac.digest(secret.encode("utf-8", "surrogatepass"), body, hashlib.sha256))


def verify(request: Request, secrets: Sequence[str], config: ShopifyConfig) -> None:
    """Check the HMAC over the raw body, and the shop where the options name one.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    usable = fields.usable(secrets)
    given = fields.header(request, _header(request, "hmac-sha256"))
    fields.require_match([given], [_signature(request.body, secret) for secret in usable])
    if config.shop and request.headers.get(_header(request, "shop-domain"), "").lower() != config.shop:
        raise RecipientWrong


def _triggered_at(request: Request) -> Version | None:
    name = _header(request, "triggered-at")
    given = request.headers.get(name)
    return None if given is None else versions.instant(given, f"the header {name}")


def _version(entity: JsonObject, pointer: str) -> Version | None:
    name = next((name for name in _TIMES if entity.get(name)), None)
    return None if name is None else versions.instant(entity[name], f"{pointer}/{name}")


def _key(request: Request, topic: Topic, entity_id: str) -> str:
    name = _header(request, "webhook-id")
    if name in request.headers:
        return fields.header_text(request, name)
    name = _header(request, "event-id")
    if name in request.headers:
        return digest([fields.header_text(request, name), topic.type, entity_id]).hex()
    return hashlib.sha256(request.body).hexdigest()


def normalise(request: Request, _secrets: Sequence[str], _config: ShopifyConfig, source: str) -> Incoming:
    """Bring a delivery to normal form; its topic is taken only as far as the body bears it out.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: a field is missing or malformed, or the topic isn't one that this body can have.
    """
    body = parse_object(request.body)
    topic = shopify_topics.read(fields.header_text(request, _header(request, "topic")))
    pointer, entity = shopify_topics.entity(topic, body)
    entity_id = shopify_topics.entity_id(topic, entity, pointer)
    stated = _version(entity, pointer)
    try:
        triggered_at = _triggered_at(request)
    except FieldInvalid:
        if stated is None:
            raise
        triggered_at = None
    return Incoming(
        source=source,
        external_id=_key(request, topic, entity_id),
        type=topic.type,
        entity_type=topic.entity_type,
        entity_id=entity_id,
        operation=topic.operation,
        version=stated or triggered_at,
        payload=body,
        # Two saves of one second: the body's time can't order them, the header's milliseconds can.
        sequence=triggered_at.order if stated and triggered_at else None,
        data_pointer=pointer,
        content_key=_content_key(request, topic, stated),
    )


def _content_key(request: Request, topic: Topic, stated: Version | None) -> str:
    """Return what makes this body known again under other headers.

    A body that states its own version is one state, whatever topic it comes under; but what happened (an order paid)
    is in the topic alone, as is what is deleted. Joining and leaving a segment have the same, timeless body again and
    again: there the header that tells them apart has to be believed.
    """
    parts = [hashlib.sha256(request.body).hexdigest()]
    if stated is None or not topic.is_state:
        parts.append(topic.type)
    if topic.recurs and topic.operation is not Operation.DELETE and stated is None:
        parts.append(request.headers.get(_header(request, "event-id"), ""))
    return digest(parts).hex()


def sign(outgoing: Outgoing, secret: str, config: ShopifyConfig) -> dict[str, str]:
    """Return the headers of a delivery; an event type stands for its topic."""
    key = fields.to_header(outgoing.external_id)
    return {
        "x-shopify-hmac-sha256": _signature(outgoing.body, secret).decode(),
        "x-shopify-topic": shopify_topics.write(outgoing.type),
        "x-shopify-webhook-id": key,
        "x-shopify-event-id": key,
        "x-shopify-shop-domain": config.shop or "example.myshopify.com",
        "x-shopify-api-version": API_VERSION,
        "x-shopify-triggered-at": fields.rfc3339(outgoing.sent_at),
    }


def check_secret(secret: str) -> None:
    """Check that a secret is long enough; it is used as its UTF-8 bytes.

    Raises:
        ConfigInvalid: it has fewer than 8 characters.
    """
    if len(secret.strip()) < MIN_SECRET_CHARS:
        raise ConfigInvalid(f"the secret must have at least {MIN_SECRET_CHARS} characters")


KIND = Kind("shopify", verify, normalise, sign, check_secret, ShopifyConfig)
