"""Owns the kind ``standard``: Standard Webhooks 1.0 with symmetric (v1) and asymmetric (v1a) signatures."""

from collections.abc import Sequence

from app import versions
from app.errors import ConfigInvalid
from app.incoming import Incoming, JsonObject, Version
from app.jsontext import parse_object, resolve
from app.sources import fields, lines
from app.sources import standard_signature as scheme
from app.sources.kind import Config, Kind, Outgoing, Request

MIN_KEY_BYTES = 16


class StandardConfig(Config):
    """Where a Standard Webhooks body keeps what the specification leaves open; JSON pointers (RFC 6901)."""

    id_pointer: fields.Pointer = "/data/id"
    version_pointer: fields.Pointer = "/data/updated_at"
    reuses_ids: bool = False
    """Whether this sender gives a deleted id to a new entity."""


def verify(request: Request, secrets: Sequence[str], _config: StandardConfig) -> None:
    """Check the signature by any of the source's keys.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    scheme.verify(request, scheme.read_keys(tuple(fields.usable(secrets))))


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


def split(request: Request, _config: StandardConfig) -> list[Request] | None:
    """Take NDJSON apart.

    Raises:
        BodyTooLarge: there are too many lines.
    """
    return lines.split(request, "webhook-id")


def sign(outgoing: Outgoing, secret: str, _config: StandardConfig) -> dict[str, str]:
    """Return the three headers of the specification: v1a with a ``whsk_``, else v1.

    Raises:
        ConfigInvalid: nothing can be signed with this secret.
    """
    for one in scheme.split(secret):
        keys = scheme.read_keys((one,))
        key = scheme.private_key(one) or (keys.symmetric[0] if keys.symmetric else None)
        if key is not None:
            return scheme.sign(outgoing, key)
    raise ConfigInvalid("the secret can't sign: it is neither base64 nor a private key (whsk_)")


def check_secret(secret: str) -> None:
    """Check that a secret is ``whsec_`` and base64 of at least 16 bytes, or a ``whpk_`` (ed25519), or several of them.

    The specification asks its senders for 24 to 64 bytes. A receiver doesn't choose, so shorter keys that some
    senders hand out are taken down to 128 bits; the prefix may be missing, as some dashboards hide it.
    """
    for one in scheme.split(secret) or [""]:
        keys = scheme.read_keys((one,))
        if not keys.symmetric and not keys.public:
            raise ConfigInvalid("the secret must be whsec_ and base64, or whpk_ and the base64 of an ed25519 key")
        if any(len(key) < MIN_KEY_BYTES for key in keys.symmetric):
            raise ConfigInvalid(f"the secret's key must have at least {MIN_KEY_BYTES} bytes")


KIND = Kind(
    "standard", verify, normalise, sign, check_secret, StandardConfig, content_types=lines.CONTENT_TYPES, split=split
)
