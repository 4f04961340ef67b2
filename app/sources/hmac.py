"""Owns the kind ``hmac``: any sender that puts an HMAC over the raw body into a header.

The options say where things are. Untouched, they verify GitHub's ``X-Hub-Signature-256`` and read a body that is
shaped like a Standard Webhooks one; what an option names must then be there.
"""

import hashlib
import re
from collections.abc import Sequence
from decimal import Decimal

from app import versions
from app.errors import ConfigInvalid, FieldInvalid, SignatureInvalid
from app.incoming import Incoming, JsonObject, Operation, Version
from app.jsontext import parse_object, resolve
from app.sources import fields, lines, macs
from app.sources.hmac_config import HmacConfig
from app.sources.kind import Kind, Outgoing, Request

MIN_SECRET_CHARS = 8
DEFAULT_TYPE = "event.received"
_MOST_SIGNATURES = 10
_SEPARATORS = re.compile(r"[/: ]+")


def _signature(signed: bytes, secret: str, config: HmacConfig) -> bytes:
    return macs.written(macs.key(secret, config.secret_encoding), signed, config.algorithm, config.encoding)


def _stamped(value: bytes) -> tuple[bytes, list[bytes]]:
    pairs = [pair.strip(b" ").partition(b"=") for pair in value.split(b",")]
    stamps = [given for name, _, given in pairs if name == b"t"]
    if len(stamps) != 1:
        raise SignatureInvalid("the signature header must have one timestamp, t=")
    return stamps[0], [given for name, _, given in pairs if name == b"v1"][:_MOST_SIGNATURES]


def verify(request: Request, secrets: Sequence[str], config: HmacConfig) -> None:
    """Check the HMAC over the raw body, and over its timestamp where there is one.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    usable = fields.usable([secret for secret in secrets if macs.key(secret, config.secret_encoding)])
    value = fields.header(request, config.header)
    stamp, signed = b"", request.body
    if config.signed_timestamp:
        stamp, stated = _stamped(value)
        signed = stamp + b"." + request.body
        given = [one for each in stated for one in macs.given(each, "", config.encoding)]
    else:
        given = macs.given(value, config.prefix, config.encoding)
    fields.require_match(given, [_signature(signed, secret, config) for secret in usable])
    if config.signed_timestamp:
        fields.require_recent(stamp, request.received_at, config.tolerance_s)


def _named(pointer: str, option: str) -> str:
    return f"{pointer} (option {option})"


def _type(request: Request, body: JsonObject, config: HmacConfig) -> str:
    if config.type:
        return config.type
    if config.type_header:
        name = fields.header_text(request, config.type_header)
        return fields.label(_SEPARATORS.sub(".", name), f"the header {config.type_header} (option type_header)")
    value = resolve(body, config.type_pointer or "/type")
    if value is None and config.type_pointer is None:
        return DEFAULT_TYPE
    field = _named(config.type_pointer or "/type", "type_pointer")
    # Shopify writes products/update, others order:created.
    return fields.label(_SEPARATORS.sub(".", fields.text(value, field)), field)


def _key(request: Request, body: JsonObject, config: HmacConfig) -> tuple[str, str | None]:
    fingerprint = hashlib.sha256(request.body).hexdigest()
    if config.key_pointer is not None:
        key = fields.identifier(resolve(body, config.key_pointer), _named(config.key_pointer, "key_pointer"))
        return key, None
    if config.key_header is not None:
        return fields.header_text(request, config.key_header), fingerprint
    return fingerprint, None


def _entity_type(body: JsonObject, config: HmacConfig, event_type: str) -> str:
    if config.entity_type:
        return config.entity_type.lower()
    if config.entity_pointer is None:
        return fields.noun(event_type)
    field = _named(config.entity_pointer, "entity_pointer")
    return fields.label(resolve(body, config.entity_pointer), field).lower()


def _entity_id(body: JsonObject, config: HmacConfig, key: str) -> str:
    value = resolve(body, config.id_pointer or "/data/id")
    if value is None and config.id_pointer is None:
        return key
    return fields.identifier(value, _named(config.id_pointer or "/data/id", "id_pointer"))


def _version(body: JsonObject, config: HmacConfig) -> Version | None:
    value = resolve(body, config.version_pointer)
    if value is None:
        return None
    read = versions.instant if config.version_clock == "time" else versions.counter
    return read(value, _named(config.version_pointer, "version_pointer"))


def _operation(body: JsonObject, config: HmacConfig, event_type: str) -> Operation:
    if config.operation_pointer is None:
        told = fields.operation(event_type)
        if told is Operation.DELETE and config.type_header and not config.type:
            # The header isn't signed: an old body under another type must delete nothing.
            raise FieldInvalid("the type isn't signed: a delete needs the option operation_pointer")
        return told
    field = _named(config.operation_pointer, "operation_pointer")
    return fields.operation(fields.text(resolve(body, config.operation_pointer), field))


def _sequence(body: JsonObject, config: HmacConfig) -> Decimal | None:
    value = None if config.sequence_pointer is None else resolve(body, config.sequence_pointer)
    return (
        None
        if value is None
        else versions.counter(value, _named(str(config.sequence_pointer), "sequence_pointer")).order
    )


def normalise(request: Request, _secrets: Sequence[str], config: HmacConfig, source: str) -> Incoming:
    """Bring a body to normal form by the options' pointers.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: a field is missing or malformed.
    """
    body = parse_object(request.body)
    event_type = _type(request, body, config)
    key, content_key = _key(request, body, config)
    operation = _operation(body, config, event_type)
    if operation is not Operation.DELETE and not isinstance(resolve(body, config.data_pointer), dict):
        raise FieldInvalid(f"{_named(config.data_pointer, 'data_pointer')} must be an object")
    return Incoming(
        source=source,
        external_id=key,
        type=event_type,
        entity_type=_entity_type(body, config, event_type),
        entity_id=_entity_id(body, config, key),
        operation=operation,
        version=_version(body, config),
        payload=body,
        sequence=_sequence(body, config),
        data_pointer=config.data_pointer,
        content_key=content_key,
        reuses_ids=config.reuses_ids,
    )


def split(request: Request, config: HmacConfig) -> list[Request] | None:
    """Take NDJSON apart.

    Raises:
        BodyTooLarge: there are too many lines.
    """
    return lines.split(request, config.key_header)


def sign(outgoing: Outgoing, secret: str, config: HmacConfig) -> dict[str, str]:
    """Return the signature's header, and the key's where the options name one."""
    headers = {} if config.key_header is None else {config.key_header: fields.to_header(outgoing.external_id)}
    if config.type_header is not None:
        headers[config.type_header] = fields.to_header(outgoing.type)
    if config.signed_timestamp:
        stamp = str(int(outgoing.sent_at))
        signature = _signature(f"{stamp}.".encode() + outgoing.body, secret, config)
        return headers | {config.header: f"t={stamp},v1={signature.decode()}"}
    return headers | {
        config.header: fields.to_header(config.prefix) + _signature(outgoing.body, secret, config).decode()
    }


def check_secret(secret: str) -> None:
    """Check that a secret is long enough; it is used as its UTF-8 bytes.

    Raises:
        ConfigInvalid: it has fewer than 8 characters.
    """
    if len(secret.strip()) < MIN_SECRET_CHARS:
        raise ConfigInvalid(f"the secret must have at least {MIN_SECRET_CHARS} characters")


KIND = Kind("hmac", verify, normalise, sign, check_secret, HmacConfig, content_types=lines.CONTENT_TYPES, split=split)
