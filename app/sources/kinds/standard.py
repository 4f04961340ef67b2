"""The kind ``standard``: Standard Webhooks 1.0 with v1 or v1a signatures, and the dialects of Svix and Polar."""

from collections.abc import Sequence

from app.errors import ConfigInvalid, FieldInvalid
from app.events import version_reading as versions
from app.events.canonical_json import resolve
from app.events.incoming import Incoming, JsonObject, Version
from app.sources.kinds import bodies, fields, ndjson
from app.sources.kinds import standard_signature as scheme
from app.sources.kinds.kind import Config, Delivery, Kind, Outgoing, Request

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
    scheme.verify(request, scheme.read_keys(tuple(fields.usable(secrets))), scheme.family(request.headers))


def _timestamp(body: JsonObject) -> Version | None:
    timestamp = body.get("timestamp")
    return None if timestamp in (None, "") else versions.instant(timestamp, "/timestamp")


def _version(delivery: Delivery, config: StandardConfig) -> Version | None:
    updated_at = resolve(delivery.body, config.version_pointer)
    if updated_at not in (None, ""):
        return versions.instant(updated_at, f"{config.version_pointer} (option version_pointer)")
    return delivery.version or _timestamp(delivery.body)


def open_(request: Request, _secrets: Sequence[str], _config: StandardConfig) -> Delivery:
    """Parse ``{"type", "timestamp", "data"}``; the key is ``webhook-id``, or Svix's.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: the key can't be read.
    """
    key = fields.header_text(request, f"{scheme.family(request.headers)}-id")
    body, notes = bodies.read_object(request)
    topic = body.get("type")
    topic = topic if isinstance(topic, str) else ""
    try:
        event_type = fields.topic_label(topic, "/type")
    except FieldInvalid:
        event_type = ""
    try:
        version = _timestamp(body)
    except FieldInvalid:  # beside a version of the entity's own it doesn't matter
        version = None
    return Delivery(body, topic, event_type, key, version=version, notes=notes)


def interpret(delivery: Delivery, _request: Request, config: StandardConfig, source: str) -> list[Incoming]:
    """Bring a delivery to normal form.

    Raises:
        FieldInvalid: a field is missing or malformed.
    """
    body = delivery.body
    event_type = fields.topic_label(body.get("type"), "/type")
    named = f"{config.id_pointer} (option id_pointer)"
    return [
        Incoming(
            source=source,
            external_id=delivery.key,
            type=event_type,
            entity_type=fields.noun(event_type),
            entity_id=fields.identifier(resolve(body, config.id_pointer), named),
            operation=fields.operation(event_type),
            version=_version(delivery, config),
            payload=body,
            data_pointer="/data" if isinstance(body.get("data"), dict) else "",
            reuses_ids=config.reuses_ids,
            notes=delivery.notes,
        )
    ]


def split(request: Request, _config: StandardConfig) -> list[Request] | None:
    """Take NDJSON and JSON arrays apart.

    Raises:
        BodyTooLarge: there are too many events.
    """
    return ndjson.split(request, f"{scheme.family(request.headers)}-id")


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
    raise ConfigInvalid("the secret can't sign: it is neither symmetric nor a private key (whsk_)")


def check_secret(secret: str) -> None:
    """Check that a secret has a key: ``whsec_`` and base64, ``whpk_`` and ed25519, any other text, or several of them.

    The specification asks its senders for 24 to 64 bytes. A receiver doesn't choose, so shorter keys that some
    senders hand out are taken down to 128 bits. Without a prefix, which some dashboards hide, a secret may be base64
    or be the key itself.
    """
    for one in scheme.split(secret) or [""]:
        keys = scheme.read_keys((one,))
        if not keys.symmetric and not keys.public:
            raise ConfigInvalid(
                "the secret must be whsec_ and base64, whpk_ and the base64 of an ed25519 key, or a text without these"
            )
        if keys.symmetric and max(map(len, keys.symmetric)) < MIN_KEY_BYTES:
            raise ConfigInvalid(f"the secret's key must have at least {MIN_KEY_BYTES} bytes")


KIND = Kind(
    *("standard", verify, open_, interpret, sign, check_secret, StandardConfig),
    headers=frozenset({"webhook-id", "webhook-timestamp", "svix-id", "svix-timestamp"}),
    split=split,
    refusals=(
        "The sender decides how often it tries again. Svix tries 7 times more within 28 hours; Polar tries 10 times "
        "and disables an endpoint after 10 events that failed. The answer 410 tells a sender to stop for good."
    ),
)
