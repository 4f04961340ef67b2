"""Owns the kind ``adobe-io``: Adobe Commerce and Magento through Adobe I/O Events.

Adobe's keys sign for every customer of Adobe's, so who an event is for (``recipientclientid``) is checked as strictly
as its signature. Keys come in with the request, fetched by ``app.web.webhooks.vendor_keys`` from one fixed host.
Source: developer.adobe.com/events, "Signature verification"; names: ``app/sources/kinds/adobe_events.py``.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from typing import Annotated

from pydantic import StringConstraints

from app.errors import (
    BodyMalformed,
    ConfigInvalid,
    FieldInvalid,
    RecipientWrong,
    SignatureInvalid,
    SignatureMissing,
)
from app.events import version_reading as versions
from app.events.canonical_json import dump, parse_leniently, resolve
from app.events.incoming import Completeness, Incoming, JsonObject, JsonValue, Operation, Version
from app.sources.kinds import adobe_events, bodies, catalogue, fields, ndjson
from app.sources.kinds.adobe_signature import HMAC, PAIRS, is_adobes, is_for, key_paths, older
from app.sources.kinds.catalogue import Topic
from app.sources.kinds.kind import Config, Delivery, Greeting, Hello, Kind, Outgoing, Request

MIN_SECRET_CHARS = 8
_CHALLENGE = re.compile(r"[!-~]{1,200}")
_ALL_STORES = "0"
"""The id of no store view: values saved under it are the default of all."""


class AdobeConfig(Config):
    """Who the events are for."""

    client_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """The client id of the project's credentials: without it no digital signature can be this source's."""
    currency: fields.CurrencyCode | None = None
    """What the shop's prices are in: a product doesn't say."""


def verify(request: Request, secrets: Sequence[str], config: AdobeConfig) -> None:
    """Check that one of Adobe's two digital signatures holds, or the older HMAC, and that we are the recipient.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    usable = fields.usable(secrets)
    is_digital = any(request.headers.get(header) for header, _ in PAIRS)
    if not is_digital and not request.headers.get(HMAC):
        raise SignatureMissing(f"the headers {PAIRS[0][0]} and {HMAC} are missing")
    if is_digital and config.client_id is None and not request.headers.get(HMAC):
        raise SignatureInvalid("the option client_id isn't set, so no digital signature can be this source's")
    if config.client_id is not None and is_digital and is_adobes(request):
        if not is_for(request.body, config.client_id, strictly=True):
            raise RecipientWrong
        return
    given = request.headers.get(HMAC)
    expected = [older(request.body, secret) for secret in usable]
    fields.require_match([fields.to_bytes(given)] if given else [], expected)
    if config.client_id is not None and not is_for(request.body, config.client_id, strictly=False):
        raise RecipientWrong


def split(request: Request, _config: AdobeConfig) -> list[Request] | None:
    """Return each event of a batch, a JSON array with something in it, as a request of its own in the flat form.

    Adobe's batches have 20 events at most. Source: developer.adobe.com/events/docs/support/faq.

    Raises:
        BodyTooLarge: it has more events than any batch may have.
    """
    if request.body.removeprefix(BOM_UTF8).lstrip()[:1] != b"[":
        return None
    try:
        elements = ndjson.elements(request.body)
    except BodyMalformed:
        return None
    if not elements:
        return None
    ndjson.check_count(len(elements))
    return [
        Request(request.headers, _flat_text(element), request.received_at, request.public_keys) for element in elements
    ]


def _flat_text(element: bytes) -> bytes:
    try:
        event, replaced = parse_leniently(element)
    except BodyMalformed:
        return element
    flat = _flat(event)
    return element if replaced or flat is event else dump(flat)


def _flat(event: JsonValue) -> JsonValue:
    """Return an event that older providers wrap, ``{eventid, event: {body}, recipientclientid}``, as a flat one."""
    inner = event.get("event") if isinstance(event, dict) and "type" not in event else None
    inner = inner.get("body") if isinstance(inner, dict) else None
    if not isinstance(inner, dict):
        return event
    return {**inner, **{name: value for name, value in event.items() if name != "event"}}


def open_(request: Request, _secrets: Sequence[str], _config: AdobeConfig) -> Delivery:
    """Parse an event.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: it has no id.
    """
    body, notes = bodies.read_object(request)
    body = _flat(body)
    name = next((one for one in ("eventid", "event_id") if body.get(one) is not None), "id")
    topic = body.get("type")
    topic = topic if isinstance(topic, str) else ""
    version = None
    try:
        version = None if body.get("time") in (None, "") else versions.instant(body["time"], "/time")
    except FieldInvalid as error:
        notes = (*notes, f"{error}: it was left out")
    key = fields.identifier(body.get(name), f"/{name}")
    return Delivery(body, topic, adobe_events.type_of(topic), key, version=version, notes=notes)


def interpret(delivery: Delivery, _request: Request, _config: AdobeConfig, source: str) -> list[Incoming]:
    """Bring an event to normal form. Which fields it has was chosen at Adobe's.

    Raises:
        FieldInvalid: it has no type, or the id of the entity isn't among its fields.
    """
    code = adobe_events.read(delivery.topic)
    topic, body = code.topic, delivery.body
    value = resolve(body, topic.data_pointer)
    operation = code.operation(value)
    entity_id = _entity_id(code, body)
    if entity_id is None:
        return [catalogue.own_entity(delivery, source, topic.type, topic.entity_type, operation)]
    version, notes = _version(topic, delivery)
    completeness = topic.completeness
    if topic.entity_type == "product" and operation is not Operation.DELETE:
        completeness, said = _of_product(value)
        notes = (*notes, *said)
    return [
        Incoming(
            source=source,
            external_id=delivery.key,
            type=topic.type,
            entity_type=topic.entity_type,
            entity_id=entity_id,
            operation=operation,
            version=version,
            payload=body,
            data_pointer=topic.data_pointer,
            reuses_ids=_reused(topic, body),
            fact=True if topic.fact else None,
            # What a login or a cart tells of its customer or quote is no save of that.
            state=not topic.fact or completeness is not Completeness.THIN,
            completeness=completeness,
            notes=notes,
        )
    ]


def _entity_id(code: adobe_events.EventCode, body: JsonObject) -> str | None:
    """Return the entity's id, or None where the event is an entity of its own."""
    if code.topic.id.is_event:
        return None
    try:
        return code.topic.id.find(body)
    except FieldInvalid:
        if code.known:
            raise
        return None


def _reused(topic: Topic, body: JsonObject) -> bool:
    """Tell whether the id is one that is given to new entities: a SKU or a code, not Commerce's own number."""
    return topic.entity_type in adobe_events.REUSED and resolve(body, topic.id.paths[0][0]) not in (None, "")


def _version(topic: Topic, delivery: Delivery) -> tuple[Version | None, tuple[str, ...]]:
    """Return ``updated_at``, else the time of sending, and the delivery's notes.

    A delete uses it, too: its ``updated_at`` is that of the last save, and at equal versions a delete wins. Its time
    of sending can be a minute late, and would then be newer than a product created under the same SKU in between.
    """
    try:
        return topic.version_of(delivery.body) or delivery.version, delivery.notes
    except FieldInvalid as error:
        # Commerce writes 0000-00-00 00:00:00 where it has none. The time of sending is no time of the same clock.
        return None, (*delivery.notes, f"{error}: the event counts from its arrival")


def _of_product(value: JsonObject) -> tuple[Completeness, tuple[str, ...]]:
    """Return how much a save says of a product's prices, and what is to be noted of that."""
    store = value.get("store_id")
    if store not in (None, "") and str(store) != _ALL_STORES:
        return Completeness.DIFFERENCE, (
            "/data/value/store_id names a store view: its own values change no typed row",
        )
    return (Completeness.COMPLETE if "price" in value else Completeness.PARTIAL), ()


def greet(hello: Hello, _config: AdobeConfig) -> Greeting | None:
    """Answer Adobe's challenge. An address that Adobe may POST in its place (``validationUrl``) is never fetched."""
    challenge = hello.query.get("challenge", "")
    if hello.method != "GET" or not _CHALLENGE.fullmatch(challenge):
        return None
    return Greeting({"Content-Type": "text/plain; charset=utf-8"}, challenge)


def sign(outgoing: Outgoing, secret: str, _config: AdobeConfig) -> dict[str, str]:
    """Return the older HMAC's header: the digital signatures' private keys are Adobe's own."""
    return {HMAC: older(outgoing.body, secret).decode()}


def check_secret(secret: str) -> None:
    """Check that a client secret is long enough; it is used as its UTF-8 bytes.

    Raises:
        ConfigInvalid: it has fewer than 8 characters.
    """
    if len(secret.strip()) < MIN_SECRET_CHARS:
        raise ConfigInvalid(f"the secret must have at least {MIN_SECRET_CHARS} characters")


KIND = Kind(
    *("adobe-io", verify, open_, interpret, sign, check_secret, AdobeConfig),
    reused_ids=adobe_events.REUSED,
    split=split,
    greet=greet,
    key_paths=key_paths,
    headers=frozenset({"x-adobe-event-*", "x-adobe-delivery-id", "x-adobe-provider", "x-adobe-retry-count"}),
    drops_on_4xx=True,
    refusals=(
        "Adobe repeats what was answered 429 or 5xx (but not 505) for 24 hours; after any other 4xx the event is lost."
        " A registration of which 80 % of at least 10 tries failed in 24 hours is marked unstable and later disabled."
    ),
)
