"""Owns the kind ``cloudevents``: CloudEvents 1.0 over HTTP, structured, binary and batched, and its handshake.

Source: the HTTP protocol binding and "HTTP 1.1 Web Hooks for Event Delivery" of the specification. The ``cloudevents``
package isn't used to read: it fails on batches and on bad JSON. The tests write with it.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from urllib.parse import unquote_to_bytes

from app import versions
from app.errors import BodyMalformed, ConfigInvalid, FieldInvalid
from app.incoming import Incoming, JsonObject, Operation, Version
from app.jsontext import dump, parse, parse_object, resolve
from app.sources import fields, lines, macs, names
from app.sources.cloudevents_config import CloudEventsConfig
from app.sources.kind import Greeting, Hello, Kind, Outgoing, Request

MIN_SECRET_CHARS = 8
_STRUCTURED = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,60}")
_ORIGIN = re.compile(r"[A-Za-z0-9.:-]{1,253}")


def verify(request: Request, secrets: Sequence[str], config: CloudEventsConfig) -> None:
    """Check the bearer token, or the HMAC over the raw body.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    usable = fields.usable(secrets)
    if config.auth == "bearer":
        scheme, _, token = fields.header(request, "authorization").partition(b" ")
        given = [token.strip()] if scheme.lower() == b"bearer" else []
        fields.require_match(given, [macs.key(secret) for secret in usable])
        return
    value = fields.header(request, config.header)
    expected = [macs.written(macs.key(s), request.body, config.algorithm, config.encoding) for s in usable]
    fields.require_match(macs.given(value, config.prefix, config.encoding), expected)


def split(request: Request, _config: CloudEventsConfig) -> list[Request] | None:
    """Take a batch apart: each event as a structured request of its own.

    Raises:
        BodyMalformed, BodyTooLarge: it isn't a JSON array, or has too few or too many events.
    """
    if lines.mimetype(request) != _BATCH:
        return None
    found = parse(request.body)
    if not isinstance(found, list):
        raise BodyMalformed("a batch must be a JSON array")
    lines.check_count(len(found))
    headers = {**request.headers, "content-type": _STRUCTURED}
    return [replace(request, headers=headers, body=dump(event)) for event in found]


def _is_binary(request: Request) -> bool:
    return not lines.mimetype(request).startswith("application/cloudevents")


def _binary(request: Request) -> JsonObject:
    """Return a binary event in its structured form."""
    event: JsonObject = {}
    for header, value in request.headers.items():
        if not header.startswith("ce-"):
            continue
        name = header.removeprefix("ce-")
        if not _ATTRIBUTE.fullmatch(name) or name in {"data", "datacontenttype"}:
            raise FieldInvalid("a ce- header doesn't name an attribute")
        try:
            event[name] = unquote_to_bytes(fields.to_bytes(value)).decode()
        except UnicodeDecodeError:
            raise FieldInvalid(f"the header {header} isn't UTF-8") from None
    event["datacontenttype"] = lines.mimetype(request)
    if request.body.strip():
        event["data"] = parse(request.body)
    return event


def _verb(event_type: str) -> str:
    """Return the last word of a type, be it ``price.deleted`` or ``com.example.ResourceDeleted``."""
    last = event_type.rpartition(".")[2]
    return names.snake(last).rpartition("_")[2] if last != last.lower() else last


def _entity_type(event: JsonObject, config: CloudEventsConfig, event_type: str) -> str:
    if config.entity_type:
        return config.entity_type.lower()
    if config.entity_pointer:
        return fields.label(resolve(event, config.entity_pointer), config.entity_pointer).lower()
    return (["", *event_type.split(".")][-2] or event_type).lower()


def _entity_id(event: JsonObject, config: CloudEventsConfig, key: str) -> str:
    for pointer in (config.id_pointer,) if config.id_pointer else ("/subject", "/data/id"):
        value = resolve(event, pointer)
        if value is not None or config.id_pointer:
            return fields.identifier(value, pointer)
    return key


def _ordered(event: JsonObject, config: CloudEventsConfig) -> tuple[Version | None, Decimal | None]:
    given = event.get("sequence")
    sequence = None if given is None else versions.counter(given, "/sequence")
    if config.order_by == "sequence":
        return sequence, None
    pointer = config.version_pointer or "/time"
    value = resolve(event, pointer)
    counts = config.version_clock == "counter" and config.version_pointer
    version = None if value is None else (versions.counter if counts else versions.instant)(value, pointer)
    return version, None if sequence is None else sequence.order


def _check_signed(event: JsonObject, config: CloudEventsConfig, operation: Operation) -> None:
    """Hold a binary event under an HMAC to its body: its headers aren't signed, so they may say nothing that counts.

    Raises:
        FieldInvalid: id or version is in a header, or the event deletes.
    """
    for option, pointer in (("id_pointer", config.id_pointer), ("version_pointer", config.version_pointer)):
        if pointer is None or not pointer.startswith("/data/") or resolve(event, pointer) is None:
            raise FieldInvalid(f"the headers aren't signed: the option {option} must lead to a field in the data")
    if operation is Operation.DELETE:
        raise FieldInvalid("the headers aren't signed: a delete must be sent in structured form")


def normalise(request: Request, _secrets: Sequence[str], config: CloudEventsConfig, source: str) -> Incoming:
    """Bring an event to normal form; a binary one becomes its structured form first. The key is (source, id).

    Raises:
        BodyMalformed: the body isn't JSON.
        FieldInvalid: an attribute is missing or malformed.
    """
    binary = _is_binary(request)
    event = _binary(request) if binary else parse_object(request.body)
    if event.get("specversion") != "1.0":
        raise FieldInvalid("/specversion (in binary form the header ce-specversion) must be 1.0")
    event_id = fields.text(event.get("id"), "/id")
    key = f"{fields.text(event.get('source'), '/source')} {event_id}"
    if len(key) > fields.MAX_CHARS:
        key = hashlib.sha256(key.encode()).hexdigest()
    event_type = fields.label(re.sub(r"[/: ]+", ".", fields.text(event.get("type"), "/type")), "/type")
    operation = fields.operation(_verb(event_type))
    if binary and config.auth == "hmac":
        _check_signed(event, config, operation)
    version, sequence = _ordered(event, config)
    return Incoming(
        source=source,
        external_id=key,
        type=event_type,
        entity_type=fields.label(_entity_type(event, config, event_type), "/type"),
        entity_id=_entity_id(event, config, key),
        operation=operation,
        version=version,
        payload=event,
        sequence=sequence,
        data_pointer="/data" if isinstance(event.get("data"), dict) else "",
        content_key=hashlib.sha256(request.body).hexdigest() if binary and config.auth == "hmac" else None,
        reuses_ids=config.reuses_ids,
    )


def greet(hello: Hello, config: CloudEventsConfig) -> Greeting | None:
    """Answer the OPTIONS handshake. ``WebHook-Request-Callback`` is never called: the sender may ask again.

    Raises:
        FieldInvalid: the origin isn't one, or isn't among those that the options name.
    """
    origin = hello.headers.get("webhook-request-origin")
    if hello.method != "OPTIONS" or origin is None:
        return None
    if not _ORIGIN.fullmatch(origin) or (config.origins and origin not in config.origins):
        raise FieldInvalid("the header webhook-request-origin names nobody who may send here")
    rate = "*" if config.rate_per_minute is None else str(config.rate_per_minute)
    return Greeting({"Allow": "POST", "WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": rate})


def sign(outgoing: Outgoing, secret: str, config: CloudEventsConfig) -> dict[str, str]:
    """Return the headers of a structured event."""
    headers = {"content-type": _STRUCTURED}
    if config.auth == "bearer":
        return headers | {"authorization": f"Bearer {fields.to_header(secret)}"}
    signature = macs.written(macs.key(secret), outgoing.body, config.algorithm, config.encoding).decode()
    return headers | {config.header: fields.to_header(config.prefix) + signature}


def check_secret(secret: str) -> None:
    """Check that a secret can be a token: at least 8 characters, no space around it, no control characters.

    Raises:
        ConfigInvalid: it can't.
    """
    if len(secret.strip()) < MIN_SECRET_CHARS:
        raise ConfigInvalid(f"the secret must have at least {MIN_SECRET_CHARS} characters")
    if secret != secret.strip() or not secret.isprintable():
        raise ConfigInvalid("the secret can't start or end with a space, or hold control characters")


KIND = Kind("cloudevents", verify, normalise, sign, check_secret, CloudEventsConfig, split=split, greet=greet)
