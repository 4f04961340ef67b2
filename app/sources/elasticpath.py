"""Owns the kind ``elasticpath``: Elastic Path Commerce Cloud integrations of type ``webhook``, of 2017 to today.

Elastic Path doesn't sign: a static secret travels in a header, and in the body too, so nothing leaves here before it
is redacted. Source: openapispecs/integrations of elasticpath-dev, and moltin's integration-server examples of 2017.
"""

from collections.abc import Sequence

from app import versions
from app.errors import BodyMalformed, ConfigInvalid, FieldInvalid
from app.incoming import Incoming, JsonObject, JsonValue, Operation, Version
from app.jsontext import digest, parse, parse_object, resolve
from app.sources import fields
from app.sources.kind import Config, Kind, Outgoing, Request
from app.sources.redaction import REDACTED, redact

HEADER = "x-moltin-secret-key"
MIN_SECRET_CHARS = 6

_UPDATED = ("/meta/timestamps/updated_at",)
_CREATED = ("/meta/timestamps/created_at",)
_RELEASED = ("/meta/published_at", "/meta/started_at", "/meta/created_at")


def verify(request: Request, secrets: Sequence[str], _config: Config) -> None:
    """Check that ``X-MOLTIN-SECRET-KEY`` is one of the source's secrets.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    expected = [secret.encode("utf-8", "surrogatepass") for secret in fields.usable(secrets)]
    fields.require_match([fields.header(request, HEADER)], expected)


def _body(raw: bytes, secrets: Sequence[str]) -> JsonObject:
    """Parse, unfold ``resources`` (a JSON text until 2023, so that redaction sees inside), redact."""
    body = parse_object(raw)
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
    return redacted


def _entity(held: JsonValue, pointer: str, noun: str) -> tuple[str, JsonObject] | None:
    """Return where the entity is: in ``data``, in 2017's array, or (deletes, releases) right here."""
    if isinstance(held, list):
        # The resource that the event is about, and not, say, an order's items beside it; else the first.
        found = [(index, item) for index, item in enumerate(held) if isinstance(item, dict)]
        found.sort(key=lambda pair: pair[1].get("type") != noun)
        return (f"{pointer}/{found[0][0]}", found[0][1]) if found else None
    if isinstance(held, dict) and "id" not in held and isinstance(held.get("data"), (dict, list)):
        return _entity(held["data"], f"{pointer}/data", noun)
    return (pointer, held) if isinstance(held, dict) and held else None


def _entity_id(entity: JsonObject, entity_type: str, pointer: str) -> str:
    value = entity.get("id")
    if value is None and entity_type == "settings":
        return "settings"  # a store has one, without an id
    return fields.identifier(value, f"{pointer}/id")


def _newest(entity: JsonObject, pointer: str, names: Sequence[str]) -> Version | None:
    given = [(name, resolve(entity, name)) for name in names]
    found = [versions.instant(value, pointer + name) for name, value in given if value not in (None, "")]
    # Go's zero time (year 1) is how Elastic Path's services may write "not yet".
    return max((version for version in found if version.order > 0), key=lambda version: version.order, default=None)


def _version(entity: JsonObject, pointer: str, entity_type: str, operation: Operation) -> Version | None:
    if operation is Operation.DELETE:
        # Elastic Path never gives an id to a second entity, so its deletes are final. A version would weaken that:
        # a timestamp in a delete is the last save's, which an update that came first may equal or pass.
        return None
    if entity_type == "catalog-release":
        # created, started, published: each is set as the release gets there, so the newest dates what is told.
        return _newest(entity, pointer, _RELEASED)
    updated = _newest(entity, pointer, _UPDATED)
    # created_at orders nothing but the creation itself: two updates would tie on it.
    return _newest(entity, pointer, _CREATED) if updated is None and operation is Operation.CREATE else updated


def normalise(request: Request, secrets: Sequence[str], _config: Config, source: str) -> Incoming:
    """Bring an integration's envelope, of any era, to normal form, redacted before anything else is read.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: a field is missing or malformed.
    """
    body = _body(request.body, secrets)
    external_id = fields.identifier(body.get("id"), "/id")
    event_type = fields.label(body.get("triggered_by"), "/triggered_by")
    noun = fields.noun(event_type)
    located = _entity(body.get("payload"), "/payload", noun) or _entity(body.get("resources"), "/resources", noun)
    if located is None:
        raise FieldInvalid("/payload is missing, and /resources holds no object either")
    pointer, entity = located
    entity_type = fields.label(entity.get("type") or noun, f"{pointer}/type").lower()
    entity_id = _entity_id(entity, entity_type, pointer)
    operation = fields.operation(event_type)
    version = _version(entity, pointer, entity_type, operation)
    content_key = None
    if version is not None or operation is Operation.DELETE:
        # Whether `id` stays the same between attempts is implied, not stated.
        content = {name: item for name, item in body.items() if name not in {"id", "attempt"}}
        named = [resolve(body, "/integration/id"), entity_type, entity_id, event_type, version and version.text]
        content_key = digest([*named, digest(content).hex()]).hex()
    return Incoming(
        source=source,
        external_id=external_id,
        type=event_type,
        entity_type=entity_type,
        entity_id=entity_id,
        operation=operation,
        version=version,
        payload=body,
        data_pointer=pointer,
        content_key=content_key,
        delivery_fields=("attempt",),
    )


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


KIND = Kind("elasticpath", verify, normalise, sign, check_secret)
