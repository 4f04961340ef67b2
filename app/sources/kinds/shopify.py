"""The kind ``shopify``: Shopify's HTTPS webhooks, signed with the app's client secret.

Only the body is signed. Topic, shop, time and ids stand in headers, so each of them is held against the body: what
deletes or erases must look like it (``app/sources/kinds/shopify_bodies.py``), and a body that was seen is known again
under other headers. Source: shopify.dev, "Deliver webhooks through HTTPS".
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from app.errors import ConfigInvalid, FieldInvalid, RecipientWrong
from app.events import version_reading as version
from app.events.canonical_json import digest
from app.events.incoming import Incoming, Version
from app.sources.kinds import bodies, fields, shopify_events, shopify_topics
from app.sources.kinds.catalogue import Topic
from app.sources.kinds.kind import Config, Delivery, Kind, Outgoing, Request

MIN_SECRET_CHARS = 8
API_VERSION = "2026-07"
"""What ``sign`` says; what is received may be of any."""
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
    return version.instant(given, f"the header {name}") if given else None


def _key(request: Request) -> tuple[str, bool]:
    """Return the delivery's key, and whether deliveries about other entities share it."""
    for name, shared in (("webhook-id", False), ("event-id", True)):
        header = _header(request, name)
        if request.headers.get(header):
            return fields.header_text(request, header), shared
    return request.body_sha256, False


def open_(request: Request, _secrets: Sequence[str], config: ShopifyConfig) -> Delivery:
    """Parse a delivery.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: a header can't be read.
    """
    body, notes = bodies.read_object(request)
    header = _header(request, "topic")
    name = fields.header_text(request, header) if request.headers.get(header) else ""
    try:
        event_type = shopify_topics.type_of(name)
    except FieldInvalid:
        event_type = ""
    topic = shopify_topics.of_type(event_type)
    stated = shopify_topics.states_time(topic, body)
    key, shared = _key(request)
    try:
        triggered_at = _triggered_at(request)
    except FieldInvalid:
        triggered_at = None
    return Delivery(
        body,
        name,
        event_type,
        key,
        shared_key=shared,
        content_key=_content_key(request, event_type, topic, stated=stated, alone=bool(config.mapping)),
        version=triggered_at,
        # Two saves of one second: the body's time can't order them, the header's milliseconds can.
        sequence=triggered_at.order if stated and triggered_at else None,
        notes=notes,
        topic_signed=False,
    )


def interpret(delivery: Delivery, request: Request, _config: ShopifyConfig, source: str) -> list[Incoming]:
    """Bring a delivery to normal form; its topic is taken only as far as the body bears it out.

    Raises:
        FieldInvalid: a field is missing or malformed, or the topic isn't one that this body can have.
    """
    topic = shopify_topics.of_type(delivery.type or shopify_topics.type_of(delivery.topic))
    if topic is None:
        return [shopify_events.by_rule(delivery, source)]
    events = shopify_events.documented(topic, delivery, source)
    if events[0].version is None and events[0].state:
        _triggered_at(request)  # it would have counted, so it must not be passed over in silence
    return events


def _content_key(request: Request, event_type: str, topic: Topic | None, *, stated: bool, alone: bool) -> str:
    """Return what makes this body known again under other headers.

    A body that states its own time is one state, whatever topic it comes under; but what happened (an order paid) is
    in the topic alone, as is what is deleted, and a source's own rules may tell any two topics apart (``alone``).
    Where the very same body may come again, the header that tells two apart has to be believed.
    """
    parts = [request.body_sha256]
    if alone or not stated or not shopify_topics.is_save(event_type, topic):
        parts.append(event_type)
    if shopify_topics.recurs(topic, stated=stated):
        given = request.headers
        parts.append(given.get(_header(request, "event-id")) or given.get(_header(request, "webhook-id"), ""))
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


KIND = Kind(
    *("shopify", verify, open_, interpret, sign, check_secret, ShopifyConfig),
    headers=frozenset({"x-shopify-*", "shopify-*"}),
    refusals="Shopify tries 8 times within 4 hours. After 8 failures in a row it removes a subscription that was made "
    "through the Admin API.",
)
