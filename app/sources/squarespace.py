"""Owns the kind ``squarespace``: webhook subscriptions of developers.squarespace.com. Only the signed body is read."""

import hashlib
import hmac
from collections.abc import Sequence

from app.errors import ConfigInvalid
from app.incoming import Incoming
from app.jsontext import parse_object, resolve
from app.sources import fields, names
from app.sources.kind import Config, Kind, Outgoing, Request

MIN_KEY_BYTES = 16
_IDS = {"order": "/data/orderId", "extension": "/data/clientId"}


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


def normalise(request: Request, _secrets: Sequence[str], _config: Config, source: str) -> Incoming:
    """Bring a notification to normal form. ``createdOn`` is to the minute, so nothing is ordered by it.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: a field is missing or malformed.
    """
    body = parse_object(request.body)
    noun, _, verb = fields.label(body.get("topic"), "/topic").rpartition(".")
    event_type = fields.label(f"{noun}.{names.past(verb)}", "/topic")
    pointer = _IDS.get(noun, "/data/id")
    return Incoming(
        source=source,
        external_id=fields.identifier(body.get("id"), "/id"),
        type=event_type,
        entity_type=fields.noun(event_type),
        entity_id=fields.identifier(resolve(body, pointer), pointer),
        operation=fields.operation(event_type),
        version=None,
        payload=body,
        data_pointer="/data",
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


KIND = Kind("squarespace", verify, normalise, sign, check_secret)
