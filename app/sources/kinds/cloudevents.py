"""The kind ``cloudevents``: CloudEvents 1.0 over HTTP, structured, binary and batched, and its handshake.

Source: https://github.com/cloudevents/spec at ce@v1.0.2; ``http-webhook.md`` is "Web Hooks" here. The ``cloudevents``
package isn't used to read: it fails on batches and on bad JSON. The tests write with it.
"""

import hashlib
import re
from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import unquote_to_bytes

from app.errors import ConfigInvalid, FieldInvalid
from app.events import version_reading as versions
from app.events.canonical_json import resolve
from app.events.incoming import Completeness, Incoming, JsonObject, JsonValue, Operation, Version
from app.sources.kinds import cloudevents_http as http
from app.sources.kinds import cloudevents_unsigned, fields, hmac_digest, mapping, names, ndjson
from app.sources.kinds.cloudevents_config import CloudEventsConfig
from app.sources.kinds.kind import Delivery, Greeting, Hello, Kind, Outgoing, Request

MIN_SECRET_CHARS = 8
_ORIGIN = re.compile(r"[A-Za-z0-9.:-]{1,253}")
_SEPARATORS = re.compile(r"[./: ]+")
_OF_MAJOR_1 = re.compile(r"1\.[0-9][0-9A-Za-z.-]{0,20}")
_TYPE_VERSION = re.compile(r"v[0-9]+(?:[a-z]+[0-9]*)?")
_NO_SPECVERSION = "/specversion (in binary form the header ce-specversion) must be 1.0"


def verify(request: Request, secrets: Sequence[str], config: CloudEventsConfig) -> None:
    """Check the bearer token, or the HMAC over the raw body.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    usable = fields.usable(secrets)
    if config.auth == "bearer":
        fields.require_match(_tokens(request), [hmac_digest.key(secret) for secret in usable])
        return
    value = fields.header(request, config.header)
    expected = [
        hmac_digest.written(hmac_digest.key(s), request.body, config.algorithm, config.encoding) for s in usable
    ]
    fields.require_match(hmac_digest.given(value, config.prefix, config.encoding), expected)


def _tokens(request: Request) -> list[bytes]:
    """Return the token of the header, else of the query parameter ``access_token`` (Web Hooks 3.1, 3.2)."""
    if "authorization" not in request.headers and b"access_token=" in request.query:
        pairs = (part.partition(b"=") for part in request.query.split(b"&"))
        return [unquote_to_bytes(value) for name, _, value in pairs if name == b"access_token"]
    scheme, _, token = fields.header(request, "authorization").partition(b" ")
    return [token.strip()] if scheme.lower() == b"bearer" else []


def split(request: Request, _config: CloudEventsConfig) -> list[Request] | None:
    """Take a batch apart: each event as a structured request of its own, be it one that can't be read.

    Raises:
        BodyMalformed, BodyTooLarge: it isn't a JSON array, or has too many events.
    """
    found = http.elements(request)
    if found is None:
        return None
    ndjson.check_count(len(found))
    headers = {**request.headers, "content-type": http.STRUCTURED}
    return [Request(headers, event, request.received_at, request.public_keys) for event in found]


def open_(request: Request, _secrets: Sequence[str], config: CloudEventsConfig) -> Delivery:
    """Parse an event; a binary one becomes its structured form first. The key is (source, id).

    Raises:
        BodyMalformed: the body isn't a JSON object, and no header says what it is.
        FieldInvalid: a required attribute is missing or malformed, or a rule believes what isn't signed.
    """
    binary = http.is_binary(request)
    event, notes = http.binary(request) if binary else http.structured(request)
    if event.get("specversion") is None:
        raise FieldInvalid(_NO_SPECVERSION)
    key = f"{_text(event.get('source'), '/source')} {_text(event.get('id'), '/id')}"
    unsigned = binary and config.auth == "hmac"
    event_type = event.get("type")
    delivery = Delivery(
        event,
        event_type if isinstance(event_type, str) else "",
        fields.topic_label(event_type, "/type"),
        key if len(key) <= fields.MAX_CHARS else hashlib.sha256(key.encode()).hexdigest(),
        content_key=request.body_sha256 if unsigned else None,
        version=None if unsigned else _told(event, config),
        sequence=_sequence(event, config),
        notes=notes,
        topic_signed=not unsigned,
    )
    rule = mapping.rule_for(config.mapping, delivery) if unsigned and config.mapping else None
    if rule is not None:
        cloudevents_unsigned.check_rule(rule, delivery.type)
    return delivery


def _text(value: JsonValue, field: str) -> str:
    """Return a text of any length without control characters, or an integer's digits."""
    if isinstance(value, str) and len(value) > fields.MAX_CHARS:
        for start in range(0, len(value), fields.MAX_CHARS):
            fields.text(value[start : start + fields.MAX_CHARS], field)
        return value
    return fields.identifier(value, field) if isinstance(value, (int, Decimal)) else fields.text(value, field)


def _told(event: JsonObject, config: CloudEventsConfig) -> Version | None:
    try:
        return _version(event, config)
    except FieldInvalid:
        return None


def _version(event: JsonObject, config: CloudEventsConfig) -> Version | None:
    """Return the version that the options lead to; None where nothing is there."""
    pointer, counts = config.version_pointer or "/time", config.version_pointer and config.version_clock == "counter"
    if config.order_by == "sequence":
        pointer, counts = "/sequence", True
    value = resolve(event, pointer)
    return None if value in (None, "") else (versions.counter if counts else versions.instant)(value, pointer)


def _sequence(event: JsonObject, config: CloudEventsConfig) -> Decimal | None:
    """Return what orders the events of one time: a ``sequence`` of integers.

    The extension is a text that compares as text, and what another ``sequencetype`` means is between its users.
    """
    given, kind = event.get("sequence"), event.get("sequencetype")
    if given is None or config.order_by == "sequence":
        return None
    if kind not in (None, "") and str(kind).lower() != "integer":
        return None
    try:
        return versions.counter(given, "/sequence").order
    except FieldInvalid:
        return None


def _check_specversion(event: JsonObject) -> tuple[str, ...]:
    """Take 1.0, and any other 1.x for it, with a note.

    Raises:
        FieldInvalid: it is something else.
    """
    told = event["specversion"]
    if told == "1.0":
        return ()
    if not isinstance(told, str) or not _OF_MAJOR_1.fullmatch(told):
        raise FieldInvalid(_NO_SPECVERSION)
    return (f"specversion {told} was read as 1.0",)


def _words(event_type: str) -> list[str]:
    """Return the segments of a type without its version: ``com.example.object.deleted.v2`` ends in ``deleted``."""
    words = [word for word in _SEPARATORS.split(event_type) if word]
    return words[:-1] if len(words) > 1 and _TYPE_VERSION.fullmatch(words[-1]) else words


def _verb(last: str) -> str:
    """Return the verb in the last segment of a type, be it ``deleted`` or ``ResourceDeleted``."""
    return names.snake(last).rpartition("_")[2] if last != last.lower() else last


def _entity_type(event: JsonObject, config: CloudEventsConfig, words: Sequence[str]) -> str:
    if config.entity_type:
        return config.entity_type.lower()
    if config.entity_pointer:
        return fields.topic_label(resolve(event, config.entity_pointer), config.entity_pointer).lower()
    return fields.topic_label(words[-2] if len(words) > 1 else words[-1], "/type").lower()


def _entity_id(event: JsonObject, config: CloudEventsConfig) -> str | None:
    """Return the id of the entity that an event is about; None where the event is one of its own."""
    if config.id_pointer:
        return fields.identifier(resolve(event, config.id_pointer), config.id_pointer)
    for pointer in ("/subject", "/data/id"):
        value = resolve(event, pointer)
        if value not in (None, ""):
            return fields.identifier(value, pointer)
    if "data_base64" in event and "data" not in event and http.says_json(event.get("datacontenttype")):
        raise FieldInvalid("/data_base64 isn't JSON, and there is no subject: nothing says what the event is about")
    return None


def _check_order(version: Version | None, config: CloudEventsConfig, operation: Operation) -> None:
    """Hold an event to the counter that the options order by: any arrival is greater than any count.

    Raises:
        FieldInvalid: it has none, and isn't a delete that is final without.
    """
    counts = config.order_by == "sequence" or (config.version_pointer and config.version_clock == "counter")
    if version is None and counts and (operation is not Operation.DELETE or config.reuses_ids):
        raise FieldInvalid(f"{'/sequence' if config.order_by == 'sequence' else config.version_pointer} is missing")


def interpret(delivery: Delivery, request: Request, config: CloudEventsConfig, source: str) -> list[Incoming]:
    """Bring an event to normal form.

    Raises:
        FieldInvalid: an attribute is missing or malformed.
    """
    event = delivery.body
    notes = _check_specversion(event) + delivery.notes
    words = _words(delivery.topic)
    operation = fields.operation(_verb(words[-1]))
    if config.auth == "hmac" and http.is_binary(request):
        cloudevents_unsigned.check(event, config, operation)
    version = delivery.version or _version(event, config)
    _check_order(version, config, operation)
    described = isinstance(event.get("data"), dict)
    entity_id = _entity_id(event, config)
    return [
        Incoming(
            source=source,
            external_id=delivery.key,
            type=delivery.type,
            entity_type=_entity_type(event, config, words),
            entity_id=delivery.own_id if entity_id is None else entity_id,
            operation=operation,
            version=version,
            payload=event,
            sequence=delivery.sequence,
            data_pointer="/data" if described else "",
            content_key=delivery.content_key,
            reuses_ids=config.reuses_ids,
            fact=True if entity_id is None else None,
            completeness=Completeness.COMPLETE if described or operation is Operation.DELETE else Completeness.THIN,
            notes=notes,
        )
    ]


def greet(hello: Hello, config: CloudEventsConfig) -> Greeting | None:
    """Answer the OPTIONS handshake. ``WebHook-Request-Callback`` is never called: the sender may ask again.

    Raises:
        FieldInvalid: the origin isn't one, or isn't among those that the options name.
    """
    origin = hello.headers.get("webhook-request-origin")
    if hello.method != "OPTIONS" or origin is None:
        return None
    named = {name.lower() for name in config.origins}
    if not _ORIGIN.fullmatch(origin) or (named and origin.lower() not in named):
        raise FieldInvalid("the header webhook-request-origin names nobody who may send here")
    rate = "*" if config.rate_per_minute is None else str(config.rate_per_minute)
    return Greeting({"Allow": "POST", "WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": rate})


def sign(outgoing: Outgoing, secret: str, config: CloudEventsConfig) -> dict[str, str]:
    """Return the headers of a structured event."""
    headers = {"content-type": http.STRUCTURED}
    if config.auth == "bearer":
        return headers | {"authorization": f"Bearer {fields.to_header(secret)}"}
    signature = hmac_digest.written(hmac_digest.key(secret), outgoing.body, config.algorithm, config.encoding).decode()
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


KIND = Kind(
    *("cloudevents", verify, open_, interpret, sign, check_secret, CloudEventsConfig),
    split=split,
    greet=greet,
    headers=frozenset({"ce-*"}),
    refusals="Each sender decides for itself how often it tries again. 410 tells it to stop for good: only a source "
    "whose sender has left is answered so, one that is disabled 503.",
)
