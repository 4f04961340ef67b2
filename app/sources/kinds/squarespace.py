"""The kind ``squarespace``: webhook subscriptions of developers.squarespace.com. Only the signed body is read."""

import hashlib
import hmac
from collections.abc import Sequence

from app.errors import ConfigInvalid, FieldInvalid
from app.events.canonical_json import resolve
from app.events.incoming import Completeness, Incoming, JsonObject
from app.sources.kinds import bodies, fields, names
from app.sources.kinds.catalogue import Topic, catalogue, own_entity
from app.sources.kinds.kind import Config, Delivery, Kind, Outgoing, Request

MIN_KEY_BYTES = 16
_TOPICS = catalogue("squarespace")


def _key(secret: str) -> bytes | None:
    try:
        return bytes.fromhex(secret.strip()) or None
    except ValueError:
        return None


def verify(request: Request, secrets: Sequence[str], _config: Config) -> None:
    """Check ``Squarespace-Signature``: the hex HMAC-SHA256 of the raw body under the hex-decoded secret.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    keys = fields.usable([secret for secret in secrets if _key(secret)])
    given = fields.header(request, "squarespace-signature")
    fields.require_match([given], [_signature(request.body, key) for key in keys])


def _signature(body: bytes, secret: str) -> bytes:
    return hmac.digest(_key(secret) or b"", body, hashlib.sha256).hex().encode()


def _topic(topic: str, body: JsonObject) -> Topic | None:
    """Return what a topic means; what happened to an order stands in ``data.update``."""
    update = resolve(body, "/data/update")
    told = _TOPICS.get(f"{topic} {update}") if isinstance(update, str) else None
    return told or _TOPICS.get(topic)


def _type(topic: str) -> str:
    """Return a topic in normal form: ``order.create`` is ``order.created``. Raises FieldInvalid where it is none."""
    noun, dot, verb = topic.rpartition(".")
    return fields.topic_label(noun + dot + names.past(verb), "/topic")


def open_(request: Request, _secrets: Sequence[str], _config: Config) -> Delivery:
    """Parse a notification. ``createdOn`` is to the minute, so nothing is ordered by it.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: it has no id.
    """
    body, notes = bodies.read_object(request)
    name = body.get("topic")
    name = name if isinstance(name, str) else ""
    known = _topic(name, body)
    try:
        event_type = _type(name) if known is None else known.type
    except FieldInvalid:
        event_type = ""
    return Delivery(body, name, event_type, fields.identifier(body.get("id"), "/id"), notes=notes)


def interpret(delivery: Delivery, _request: Request, _config: Config, source: str) -> list[Incoming]:
    """Bring a notification to normal form.

    Raises:
        FieldInvalid: there is no topic, or not the id that is documented for it.
    """
    topic = _topic(delivery.topic, delivery.body)
    return [_by_rule(delivery, source)] if topic is None else topic.events(delivery, source)


def _by_rule(delivery: Delivery, source: str) -> Incoming:
    """Return the event of a topic that isn't in the catalogue: its id is ``/data/id``, or the noun's own."""
    body = delivery.body
    event_type = delivery.type or _type(fields.text(body.get("topic"), "/topic"))
    entity_type = fields.noun(event_type)
    operation = fields.operation(event_type)
    pointer = next(
        (one for one in (f"/data/{entity_type}Id", "/data/id") if resolve(body, one) not in (None, "")), None
    )
    if pointer is None:
        return own_entity(delivery, source, event_type, entity_type, operation)
    return Incoming(
        source=source,
        external_id=delivery.key,
        type=event_type,
        entity_type=entity_type,
        entity_id=fields.identifier(resolve(body, pointer), pointer),
        operation=operation,
        version=None,
        payload=body,
        data_pointer="/data",
        completeness=Completeness.THIN,
        notes=delivery.notes,
    )


def sign(outgoing: Outgoing, secret: str, _config: Config) -> dict[str, str]:
    """Return the signature's header."""
    return {"squarespace-signature": _signature(outgoing.body, secret).decode()}


def check_secret(secret: str) -> None:
    """Check that a secret is hex of at least 16 bytes, as a subscription's is.

    Raises:
        ConfigInvalid: it isn't.
    """
    if len(_key(secret) or b"") < MIN_KEY_BYTES:
        raise ConfigInvalid(f"the secret must be hex of at least {MIN_KEY_BYTES} bytes")


KIND = Kind(
    *("squarespace", verify, open_, interpret, sign, check_secret),
    refusals=(
        "Squarespace repeats a notification several times in 48 hours until it is answered 2xx; a subscription that "
        "keeps failing may be deleted."
    ),
)
