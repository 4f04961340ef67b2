"""The kind ``bigcommerce``: Standard Webhooks whose key is the bytes of the API account's client secret.

The bodies are thin: they say what changed, not how. Source: developer.bigcommerce.com, "Webhooks".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from app.errors import ConfigInvalid, FieldInvalid
from app.events import version_reading as versions
from app.events.canonical_json import resolve
from app.events.incoming import Completeness, Incoming, JsonObject, JsonValue, Version
from app.sources.kinds import bodies, fields, names
from app.sources.kinds import standard_signature as scheme
from app.sources.kinds.catalogue import Topic, catalogue, own_entity
from app.sources.kinds.kind import Config, Delivery, Kind, Outgoing, Request

MIN_SECRET_CHARS = 8
_STORE = "store"
_CHANNEL = "channel"
# A channel's number, "*" for all of them, and the documentation's "{channel_id}".
_PLACE = re.compile(r"[0-9]+|\*|\{\w+\}")
_SCOPES_CACHED = 4_096


@dataclass(frozen=True, slots=True)
class TopicScope:
    """What a scope says: ``store/channel/7/cart/lineItem/updated`` is ``channel_cart_line_item``, ``updated``, 7."""

    noun: str
    verb: str
    last: str
    """The noun's last step."""
    channel: str | None

    @property
    def name(self) -> str:
        """The scope in normal form."""
        return f"{self.noun}.{self.verb}"


@lru_cache(_SCOPES_CACHED)
def read_scope(scope: str) -> TopicScope | None:
    """Return what a scope says, or None where it isn't ``store/noun/verb``; empty steps are no steps."""
    steps = [step for step in scope.split("/") if step]
    named = [names.snake(step) for step in steps if not _PLACE.fullmatch(step)]
    if len(named) < len(("store", "noun", "verb")) or named[0] != _STORE:
        return None
    number = steps[2] if steps[1] == _CHANNEL else ""
    return TopicScope(
        "_".join(named[1:-1]), named[-1], named[-2], number if number.isascii() and number.isdecimal() else None
    )


def _topics() -> dict[str, Topic]:
    read = [(read_scope(topic.topic), topic) for topic in catalogue("bigcommerce").values()]
    return {scope.name: topic for scope, topic in read if scope is not None}


_TOPICS = _topics()


def verify(request: Request, secrets: Sequence[str], _config: Config) -> None:
    """Check the signature.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    usable = fields.usable(secrets)
    scheme.verify(request, scheme.SigningKeys(tuple(secret.encode("utf-8", "surrogatepass") for secret in usable)))


def _type(scope: TopicScope | None) -> str:
    if scope is None:
        return ""
    topic = _TOPICS.get(scope.name)
    return fields.topic_label(scope.name, "/scope") if topic is None else topic.type


def _created_at(body: JsonObject) -> Version | None:
    """Return the second in which the notification was made. Raises FieldInvalid where it can't be read."""
    value = body.get("created_at")
    return None if value in (None, "") else versions.instant(value, "/created_at")


def _is_relative(body: JsonObject) -> bool:
    """Tell whether a body says by how much a stock changed, and not what is left."""
    return bool(resolve(body, "/data/inventory/method") == "relative")


def _content_key(request: Request, body: JsonObject, version: Version | None) -> str | None:
    """Return a key over the body, or None where two events may have equal bodies.

    ``hash``, the vendor's own duplicate key, is the SHA-1 of the payload, whose time is in seconds. Two orders of one
    second that each take one piece from stock have the same hash; without a time, so have all changes of one thing.
    There only ``webhook-id`` tells events apart. The key is over the whole body, which contains the hash, so that
    bodies that differ are never taken for one event.
    """
    hashed = isinstance(body.get("hash"), str) and body["hash"]
    return request.body_sha256 if hashed and version is not None and not _is_relative(body) else None


def open_(request: Request, _secrets: Sequence[str], _config: Config) -> Delivery:
    """Parse a notification; its only version is the second in which it was made.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: the header ``webhook-id`` can't be read.
    """
    body, notes = bodies.read_object(request)
    scope = body.get("scope")
    topic = scope if isinstance(scope, str) else ""
    try:
        version = _created_at(body)
    except FieldInvalid:
        version = None  # interpret raises it, unless one of the source's own rules decides
    try:
        event_type = _type(read_scope(topic))
    except FieldInvalid:
        event_type = ""
    return Delivery(
        body,
        topic,
        event_type,
        fields.header_text(request, "webhook-id"),
        content_key=_content_key(request, body, version),
        version=version,
        notes=notes,
    )


def interpret(delivery: Delivery, _request: Request, _config: Config, source: str) -> list[Incoming]:
    """Bring a notification to normal form.

    Raises:
        FieldInvalid: the scope, the id that is documented for it, or the time can't be read.
    """
    body = delivery.body
    scope = read_scope(delivery.topic)
    if scope is None:
        fields.text(body.get("scope"), "/scope")
        raise FieldInvalid("/scope isn't store/noun/verb")
    topic = _TOPICS.get(scope.name)
    if topic is None:
        return [_by_rule(delivery, scope, source)]
    if topic.id.is_in_topic and scope.channel is None:
        raise FieldInvalid("/scope names no channel")
    events = topic.events(delivery, source, version=delivery.version, topic_id=scope.channel)
    if _is_relative(body):
        return [replace(event, fact=True, state=False, completeness=Completeness.DIFFERENCE) for event in events]
    return events


def _by_rule(delivery: Delivery, scope: TopicScope, source: str) -> Incoming:
    """Return the event of a scope that isn't in the catalogue."""
    _created_at(delivery.body)
    event_type = _type(scope)
    entity_type = (event_type.rpartition(".")[0] or event_type).lower()
    operation = fields.operation(scope.verb)
    found = _own_id(delivery.body.get("data"), scope)
    if found is None:
        return own_entity(delivery, source, event_type, entity_type, operation)
    return Incoming(
        source=source,
        external_id=delivery.key,
        type=event_type,
        entity_type=entity_type,
        entity_id=found,
        operation=operation,
        version=delivery.version,
        payload=delivery.body,
        data_pointer="/data",
        content_key=delivery.content_key,
        completeness=Completeness.THIN,
        notes=delivery.notes,
    )


def _own_id(data: JsonValue, scope: TopicScope) -> str | None:
    """Return the id of what the scope names, never its parent's: an order's message comes with the order's id."""
    if not isinstance(data, dict):
        return None
    told, own = data.get("type"), f"{scope.last}_id"
    of_another = isinstance(told, str) and names.snake(told) not in {scope.noun, scope.last}
    for name in (own,) if of_another else (own, "id"):
        if data.get(name) not in (None, ""):
            return fields.identifier(data[name], f"/data/{name}")
    return None


def sign(outgoing: Outgoing, secret: str, _config: Config) -> dict[str, str]:
    """Return the three headers of a notification."""
    return scheme.sign(outgoing, secret.encode("utf-8", "surrogatepass"))


def check_secret(secret: str) -> None:
    """Check that a client secret is long enough; it is used as its UTF-8 bytes.

    Raises:
        ConfigInvalid: it has fewer than 8 characters.
    """
    if len(secret.strip()) < MIN_SECRET_CHARS:
        raise ConfigInvalid(f"the secret must have at least {MIN_SECRET_CHARS} characters")


# Anything but a 200 at once counts as a failure there.
KIND = Kind(
    *("bigcommerce", verify, open_, interpret, sign, check_secret),
    headers=frozenset({"webhook-id", "webhook-timestamp"}),
    accepted_status=200,
    keeps_while_disabled=True,
    refusals=(
        "BigCommerce blocks the receiver's whole domain for 3 minutes once less than 90 % of at least 100 answers in "
        "2 minutes are good. It repeats what failed 11 times in 48 hours, then switches the webhook off."
    ),
)
