"""Reading a body by the options of the kind ``hmac``, alone or over what a vendor's catalogue says of its topic."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from decimal import Decimal
from typing import Any

from app.errors import FieldInvalid
from app.events import version_reading as version
from app.events.canonical_json import resolve
from app.events.incoming import Completeness, Incoming, JsonObject, JsonValue, Operation, Version
from app.sources.kinds import fields
from app.sources.kinds.catalogue import Locator, Topic
from app.sources.kinds.hmac_config import HmacConfig
from app.sources.kinds.kind import Delivery, Request

DEFAULT_TYPE = "event.received"
TYPED = frozenset({"type", "type_pointer", "type_header"})
KEYED = frozenset({"key_pointer", "key_header"})
_VERSIONED = frozenset({"version_pointer", "version_clock"})
_TOLD = TYPED | _VERSIONED | {"entity_type", "entity_pointer", "id_pointer", "operation_pointer", "data_pointer"}
"""Options that say how a body is read: what the user sets of them wins over the catalogue."""
_HOOK = "hook"
"""GitHub's webhook itself: the options are for what it brings."""
_UNSIGNED_DELETE = "the type isn't signed: a delete needs the option operation_pointer or trust_type_header"


def _named(pointer: str, option: str) -> str:
    return f"{pointer} (option {option})"


def _there(value: JsonValue) -> bool:
    return value is not None and value != ""


def _applies(option: str, value: JsonValue, config: HmacConfig) -> bool:
    """Tell whether an option is to be followed: what the user named must be there, what is preset may be absent."""
    return _there(value) or option in config.model_fields_set


def event_type(request: Request, body: JsonObject, config: HmacConfig) -> str:
    """Return the event's type.

    Raises:
        FieldInvalid: what an option names isn't there, or isn't one.
    """
    if config.type:
        return config.type
    if config.type_header and _applies("type_header", request.headers.get(config.type_header), config):
        name = fields.header_text(request, config.type_header)
        return fields.topic_label(name, f"the header {config.type_header} (option type_header)")
    value = resolve(body, config.type_pointer or "/type")
    if value is None and config.type_pointer is None:
        return DEFAULT_TYPE
    # Shopify writes products/update, others order:created.
    return fields.topic_label(value, _named(config.type_pointer or "/type", "type_pointer"))


def topic(request: Request, body: JsonObject, config: HmacConfig) -> str:
    """Return the sender's own name of the topic, as far as there is one."""
    if config.type_header and not config.type:
        return fields.to_bytes(request.headers.get(config.type_header, "")).decode(errors="replace")
    found = config.type or resolve(body, config.type_pointer or "/type")
    return found if isinstance(found, str) else ""


def key(request: Request, body: JsonObject, config: HmacConfig) -> tuple[str, str | None]:
    """Return the idempotency key, and one over the content where the first isn't signed.

    Raises:
        FieldInvalid: what an option names isn't there, or isn't one.
    """
    fingerprint = request.body_sha256
    if config.key_pointer is not None:
        value = resolve(body, config.key_pointer)
        if _applies("key_pointer", value, config):
            return fields.identifier(value, _named(config.key_pointer, "key_pointer")), None
    elif config.key_header is not None and _applies("key_header", request.headers.get(config.key_header), config):
        return fields.header_text(request, config.key_header), fingerprint
    return fingerprint, None


def _entity_type(body: JsonObject, config: HmacConfig, type_: str) -> str:
    if config.entity_type:
        return config.entity_type.lower()
    if config.entity_pointer is None:
        return fields.noun(type_)
    field = _named(config.entity_pointer, "entity_pointer")
    return fields.topic_label(resolve(body, config.entity_pointer), field).lower()


def _entity_id(body: JsonObject, config: HmacConfig, delivery: Delivery) -> str:
    value = resolve(body, config.id_pointer or "/data/id")
    if value is None and config.id_pointer is None:
        return delivery.own_id
    return fields.identifier(value, _named(config.id_pointer or "/data/id", "id_pointer"))


def _version(body: JsonObject, config: HmacConfig) -> Version | None:
    value = resolve(body, config.version_pointer)
    if not _there(value):
        return None
    read = version.instant if config.version_clock == "time" else version.counter
    return read(value, _named(config.version_pointer, "version_pointer"))


def _operation(body: JsonObject, config: HmacConfig, type_: str) -> Operation:
    if config.operation_pointer is None:
        told = fields.operation(type_)
        if told is Operation.DELETE and config.type_header and not config.type and not config.trust_type_header:
            # The header isn't signed: an old body under another type must delete nothing.
            raise FieldInvalid(_UNSIGNED_DELETE)
        return told
    field = _named(config.operation_pointer, "operation_pointer")
    return fields.operation(fields.text(resolve(body, config.operation_pointer), field))


def sequence(body: JsonObject, config: HmacConfig) -> Decimal | None:
    """Return the number that orders events of one version, where the options name one.

    Raises:
        FieldInvalid: it isn't a number.
    """
    value = None if config.sequence_pointer is None else resolve(body, config.sequence_pointer)
    if not _there(value):
        return None
    return version.counter(value, _named(str(config.sequence_pointer), "sequence_pointer")).order


def by_options(delivery: Delivery, request: Request, config: HmacConfig, source: str) -> Incoming:
    """Return what the options alone make of a body.

    Raises:
        FieldInvalid: a field is missing or malformed.
    """
    body = delivery.body
    type_ = event_type(request, body, config)
    operation = _operation(body, config, type_)
    if operation is not Operation.DELETE and not isinstance(resolve(body, config.data_pointer), dict):
        raise FieldInvalid(f"{_named(config.data_pointer, 'data_pointer')} must be an object")
    return Incoming(
        source=source,
        external_id=delivery.key,
        type=type_,
        entity_type=_entity_type(body, config, type_),
        entity_id=_entity_id(body, config, delivery),
        operation=operation,
        version=_version(body, config),
        payload=body,
        sequence=sequence(body, config),
        data_pointer=config.data_pointer,
        content_key=delivery.content_key,
        reuses_ids=config.reuses_ids,
        notes=delivery.notes,
    )


def as_told(row: Topic, delivery: Delivery, request: Request, config: HmacConfig, *, signed: bool) -> Topic:
    """Return a vendor's row with what the user's options say in its place; ``signed``: whether its topic is.

    Raises:
        FieldInvalid: what an option names isn't there, or isn't one.
    """
    body, told = delivery.body, config.model_fields_set & _TOLD
    if told and row.entity_type != _HOOK:
        by_header = told & TYPED == {"type_header"}
        typed = bool(told & TYPED) and not (by_header and config.type_header not in request.headers)
        type_ = event_type(request, body, config) if typed else row.type
        own = _entity_as_told(delivery, config, told, type_ if typed else None)
        if own is None:  # the catalogue knows where else; never an id of one thing under the type of another
            told -= {"data_pointer"}
        changes = {"type": type_, **(own or {})}
        if "id" in changes and (config.id_pointer,) not in row.id.paths:
            # Of another entity the catalogue knows neither version nor data, nor that it is deleted.
            changes |= {"version": (), "data_pointer": "", "completeness": Completeness.COMPLETE}
            if row.operation is Operation.DELETE and not signed:
                changes["operation"] = Operation.UPDATE
        contradicts = typed and by_header and fields.operation(type_) is Operation.DELETE is not row.operation
        if "operation_pointer" in told or (typed and not by_header) or contradicts:
            changes["operation"] = _operation(body, config, type_)
        if "data_pointer" in told:
            changes["data_pointer"] = config.data_pointer
        if told & _VERSIONED:
            changes |= {"version": (), "counts": False}
        row = replace(row, **changes)
    if row.operation is Operation.DELETE or isinstance(resolve(body, row.data_pointer), dict):
        return row
    if "data_pointer" in told:
        raise FieldInvalid(f"{_named(config.data_pointer, 'data_pointer')} must be an object")
    return replace(row, data_pointer="")


def _entity_as_told(
    delivery: Delivery, config: HmacConfig, told: AbstractSet[str], type_: str | None
) -> dict[str, Any] | None:
    """Return the entity's type and id as the options say; None where their pointer to the id leads nowhere.

    ``type_``: the event's type, where the options say that, too.
    """
    body, own_id = delivery.body, "id_pointer" in told and config.id_pointer is not None
    fixed = config.entity_type is not None or config.type is not None
    if own_id and not fixed and not _there(resolve(body, str(config.id_pointer))):
        return None
    changes: dict[str, Any] = {}
    pointed = config.entity_pointer is not None and _there(resolve(body, config.entity_pointer))
    if config.entity_type is not None or pointed:
        changes["entity_type"] = _entity_type(body, config, "")
    elif type_ is not None and (own_id or told & {"type", "type_pointer"}):
        changes["entity_type"] = fields.noun(type_)
    if own_id:
        changes["id"] = Locator("", constant=_entity_id(body, config, delivery))
    return changes


def by_catalogue(row: Topic, delivery: Delivery, config: HmacConfig, source: str) -> list[Incoming]:
    """Return what a vendor's row makes of a body.

    Raises:
        FieldInvalid: a field is missing or malformed.
    """
    if config.model_fields_set & _VERSIONED:
        delivery = replace(delivery, version=_version(delivery.body, config))
    events = row.events(delivery, source)
    number = sequence(delivery.body, config)
    if number is None and not config.reuses_ids:
        return events
    return [replace(event, sequence=number, reuses_ids=config.reuses_ids) for event in events]
