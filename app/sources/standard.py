"""Owns the kind ``standard``: Standard Webhooks 1.0 with symmetric (v1, HMAC-SHA256) signatures.

Source: the specification at standardwebhooks.com. The ``standardwebhooks`` package isn't used to verify: it raises
``ValueError`` and its like on malformed input and takes ``1_23`` for a timestamp. The tests use it to sign.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from app import versions
from app.errors import ConfigInvalid, SecretMissing
from app.incoming import Incoming, JsonObject, Version
from app.jsontext import parse_object, resolve
from app.sources import fields
from app.sources.kind import Config, Kind, Outgoing, Request

PREFIX = "whsec_"
MIN_KEY_BYTES = 16


class StandardConfig(Config):
    """Where a Standard Webhooks body keeps what the specification leaves open; JSON pointers (RFC 6901)."""

    id_pointer: fields.Pointer = "/data/id"
    version_pointer: fields.Pointer = "/data/updated_at"
    reuses_ids: bool = False
    """Whether this sender gives a deleted id to a new entity."""


def _key(secret: str) -> bytes | None:
    encoded = secret.strip().removeprefix(PREFIX).rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _signature(key: bytes, event_id: bytes, timestamp: bytes, body: bytes) -> bytes:
    signed = b".".join((event_id, timestamp, body))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256))


def verify(request: Request, secrets: Sequence[str], _config: StandardConfig) -> None:
    """Check ``webhook-signature`` over ``webhook-id``, ``webhook-timestamp`` and the raw body.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    keys = [key for key in map(_key, fields.usable(secrets)) if key]
    if not keys:
        raise SecretMissing
    event_id = fields.header(request, "webhook-id")
    timestamp = fields.header(request, "webhook-timestamp")
    entries = fields.header(request, "webhook-signature").split(b" ")
    fields.require_match(
        [entry.removeprefix(b"v1,") for entry in entries if entry.startswith(b"v1,")],
        [_signature(key, event_id, timestamp, request.body) for key in keys],
    )
    fields.require_recent(timestamp, request.received_at)


def _version(body: JsonObject, config: StandardConfig) -> Version | None:
    updated_at = resolve(body, config.version_pointer)
    if updated_at is not None:
        return versions.instant(updated_at, f"{config.version_pointer} (option version_pointer)")
    timestamp = body.get("timestamp")
    return None if timestamp is None else versions.instant(timestamp, "/timestamp")


def normalise(request: Request, _secrets: Sequence[str], config: StandardConfig, source: str) -> Incoming:
    """Bring ``{"type", "timestamp", "data"}`` to normal form; the key is ``webhook-id``.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: a field is missing or malformed.
    """
    external_id = fields.header_text(request, "webhook-id")
    body = parse_object(request.body)
    event_type = fields.label(body.get("type"), "/type")
    return Incoming(
        source=source,
        external_id=external_id,
        type=event_type,
        entity_type=fields.noun(event_type),
        entity_id=fields.identifier(resolve(body, config.id_pointer), f"{config.id_pointer} (option id_pointer)"),
        operation=fields.operation(event_type),
        version=_version(body, config),
        payload=body,
        data_pointer="/data" if isinstance(body.get("data"), dict) else "",
        reuses_ids=config.reuses_ids,
    )


def sign(outgoing: Outgoing, secret: str, _config: StandardConfig) -> dict[str, str]:
    """Return the three headers of the specification."""
    key = _key(secret)
    if key is None:
        raise ConfigInvalid("the secret isn't base64")
    timestamp = str(int(outgoing.sent_at))
    signature = _signature(key, outgoing.external_id.encode(), timestamp.encode(), outgoing.body)
    return {
        "webhook-id": fields.to_header(outgoing.external_id),
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature.decode()}",
    }


def check_secret(secret: str) -> None:
    """Check that a secret is ``whsec_`` and base64 of at least 16 bytes.

    The specification asks its senders for 24 to 64 bytes. A receiver doesn't choose, so shorter keys that some
    senders hand out are taken down to 128 bits; the prefix may be missing, as some dashboards hide it.
    """
    key = _key(secret)
    if key is None:
        raise ConfigInvalid(f"the secret must be {PREFIX} and base64")
    if len(key) < MIN_KEY_BYTES:
        raise ConfigInvalid(f"the secret's key must have at least {MIN_KEY_BYTES} bytes")


KIND = Kind("standard", verify, normalise, sign, check_secret, StandardConfig)
