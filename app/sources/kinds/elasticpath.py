"""The kind ``elasticpath``: Elastic Path Commerce Cloud integrations of type ``webhook``, of 2017 to today.

Elastic Path doesn't sign: a static secret travels in a header, and in the body too, so nothing leaves here before it
is redacted. Source: openapispecs/integrations of elasticpath-dev, and moltin's integration-server examples of 2017.
"""

from collections.abc import Sequence
from dataclasses import replace

from app.errors import BodyMalformed, ConfigInvalid, FieldInvalid
from app.events import version_reading as versions
from app.events.canonical_json import digest, parse, resolve
from app.events.incoming import Incoming, JsonObject, JsonValue, Operation, Version
from app.sources.kinds import bodies, fields
from app.sources.kinds.catalogue import Topic, catalogue, own_entity
from app.sources.kinds.kind import Config, Delivery, Kind, Outgoing, Request
from app.sources.kinds.redaction import REDACTED, redact

HEADER = "x-moltin-secret-key"
MIN_SECRET_CHARS = 6

_UPDATED = ("/meta/timestamps/updated_at",)
# created_at orders nothing but the creation itself: two updates would tie on it.
_CREATED = (*_UPDATED, "/meta/timestamps/created_at")
_PLACES = ("/payload/data", "/payload")


def _inside(topic: Topic) -> Topic:
    """Return a topic whose pointers start at the sender's object, which older envelopes have elsewhere."""

    def cut(pointers: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            pointer.removeprefix(next(place for place in _PLACES if pointer.startswith(f"{place}/")))
            for pointer in pointers
        )

    located = replace(topic.id, paths=tuple(cut(path) for path in topic.id.paths))
    return replace(topic, id=located, version=cut(topic.version))


_TOPICS = {name: _inside(topic) for name, topic in catalogue("elasticpath").items()}


def verify(request: Request, secrets: Sequence[str], _config: Config) -> None:
    """Check that ``X-MOLTIN-SECRET-KEY`` is one of the source's secrets.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    expected = [secret.encode("utf-8", "surrogatepass") for secret in fields.usable(secrets)]
    fields.require_match([fields.header(request, HEADER)], expected)


def _body(request: Request, secrets: Sequence[str]) -> tuple[JsonObject, tuple[str, ...]]:
    """Parse, unfold ``resources`` (a JSON text until 2023, so that redaction sees inside), redact."""
    body, notes = bodies.read_object(request)
    configuration, resources = body.get("configuration"), body.get("resources")
    if isinstance(configuration, dict) and "secret_key" in configuration:
        body["configuration"] = {**configuration, "secret_key": REDACTED}
    if isinstance(resources, str):
        try:
            unfolded = parse(resources.encode())
        except BodyMalformed:
            unfolded = None
        if isinstance(unfolded, (dict, list)):
            body["resources"] = unfolded
    redacted: JsonObject = redact(body, secrets)
    return redacted, notes


def _entity(held: JsonValue, pointer: str, noun: str) -> tuple[str, JsonObject] | None:
    """Return where the entity is: in ``data``, in 2017's array, or (deletes, releases) right here."""
    if isinstance(held, list):
        # The resource that the event is about, and not, say, an order's items beside it; else the first.
        found = [(index, item) for index, item in enumerate(held) if isinstance(item, dict)]
        found.sort(key=lambda pair: not _is_called(pair[1].get("type"), noun))
        return (f"{pointer}/{found[0][0]}", found[0][1]) if found else None
    if isinstance(held, dict) and "id" not in held and isinstance(held.get("data"), (dict, list)):
        return _entity(held["data"], f"{pointer}/data", noun)
    return (pointer, held) if isinstance(held, dict) and held else None


def _is_called(told: JsonValue, noun: str) -> bool:
    """Tell whether an object's type is an event's noun: ``catalog_rule``, and a gateway of ``payment-gateway``."""
    if not isinstance(told, str):
        return False
    told, noun = told.lower().replace("_", "-"), noun.replace("_", "-")
    return bool(told) and (told == noun or noun.endswith(f"-{told}"))


def _entity_type(entity: JsonObject, pointer: str, noun: str) -> str:
    """Return the noun of the event, so that deletes find what saves made, unless the object is something else."""
    told = entity.get("type")
    if told in (None, "") or _is_called(told, noun):
        return noun
    return fields.topic_label(told, f"{pointer}/type").lower()


def _newest(entity: JsonObject, pointer: str, names: Sequence[str]) -> Version | None:
    """Return the newest of an object's times: a release's are set one after another, as it gets there."""
    given = [(name, resolve(entity, name)) for name in names]
    found = [versions.instant(value, pointer + name) for name, value in given if value not in (None, "")]
    # Go's zero time (year 1) is how Elastic Path's services may write "not yet".
    return max((version for version in found if version.order > 0), key=lambda version: version.order, default=None)


def open_(request: Request, secrets: Sequence[str], _config: Config) -> Delivery:
    """Parse an integration's envelope, of any era, redacted before anything else is read.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: it has no id.
    """
    body, notes = _body(request, secrets)
    topic = body.get("triggered_by")
    topic = topic if isinstance(topic, str) else ""
    try:
        event_type = fields.topic_label(topic, "/triggered_by")
    except FieldInvalid:
        event_type = ""
    return Delivery(
        body,
        topic,
        event_type,
        fields.identifier(body.get("id"), "/id"),
        delivery_fields=("attempt",),
        notes=notes,
    )


def interpret(delivery: Delivery, _request: Request, _config: Config, source: str) -> list[Incoming]:
    """Bring an envelope to normal form.

    Raises:
        FieldInvalid: a field is missing or malformed.
    """
    body = delivery.body
    event_type = delivery.type or fields.topic_label(body.get("triggered_by"), "/triggered_by")
    topic = _TOPICS.get(delivery.topic)
    noun = fields.noun(event_type) if topic is None else topic.entity_type
    operation = fields.operation(event_type) if topic is None else topic.operation
    located = _entity(body.get("payload"), "/payload", noun) or _entity(body.get("resources"), "/resources", noun)
    pointer, entity = located or ("", {})
    is_own = topic.id.is_event if topic else entity.get("id") in (None, "")
    if located is None and not is_own:
        raise FieldInvalid("/payload is missing, and /resources holds no object either")
    version = _version(entity, pointer, topic, operation)
    if is_own:
        event = own_entity(delivery, source, event_type, noun, operation)
        content_key = _content_key(body, version, operation, noun, event_type)
        return [replace(event, version=version, data_pointer=pointer, content_key=content_key)]
    entity_type = _entity_type(entity, pointer, noun)
    entity_id = topic.id.find(entity, pointer) if topic else fields.identifier(entity["id"], f"{pointer}/id")
    return [
        Incoming(
            source=source,
            external_id=delivery.key,
            type=event_type,
            entity_type=entity_type,
            entity_id=entity_id,
            operation=operation,
            version=version,
            payload=body,
            data_pointer=pointer,
            content_key=_content_key(body, version, operation, entity_type, entity_id, event_type),
            delivery_fields=delivery.delivery_fields,
            fact=True if topic is not None and topic.fact else None,
            notes=delivery.notes,
        )
    ]


def _version(entity: JsonObject, pointer: str, topic: Topic | None, operation: Operation) -> Version | None:
    if operation is Operation.DELETE:
        # Elastic Path never gives an id to a second entity, so its deletes are final. A version would weaken that:
        # a timestamp in a delete is the last save's, which an update that came first may equal or pass.
        return None
    by_rule = _CREATED if operation is Operation.CREATE else _UPDATED
    return _newest(entity, pointer, by_rule if topic is None else topic.version)


def _content_key(body: JsonObject, version: Version | None, operation: Operation, *named: str) -> str | None:
    """Return a key over the content: whether ``id`` stays the same between attempts is implied, not stated."""
    if version is None and operation is not Operation.DELETE:
        return None
    content = {name: item for name, item in body.items() if name not in {"id", "attempt"}}
    return digest([resolve(body, "/integration/id"), *named, version and version.text, digest(content).hex()]).hex()


def sign(_outgoing: Outgoing, secret: str, _config: Config) -> dict[str, str]:
    """Return the header with the secret; the caller's body is sent as it is."""
    return {HEADER: fields.to_header(secret)}


def check_secret(secret: str) -> None:
    """Check that a secret can travel in a header, and is too long to turn up in a payload by chance.

    Raises:
        ConfigInvalid: it can't, or isn't.
    """
    if len(secret) < MIN_SECRET_CHARS:
        raise ConfigInvalid(f"the secret must have at least {MIN_SECRET_CHARS} characters")
    if secret != secret.strip() or not secret.isprintable():
        raise ConfigInvalid("the secret can't start or end with a space, or hold control characters")


KIND = Kind(
    *("elasticpath", verify, open_, interpret, sign, check_secret),
    refusals=(
        "Elastic Path counts anything but a 2xx within 10 seconds as failed. How often it tries again isn't "
        "documented; a failed delivery may be a lost event."
    ),
)
