"""Owns Shopify's topics: what each means in normal form, and what body it can have. Pure.

A topic is not signed, the body is. So a body is held against its topic: a delete that carries a save's time, or an
erasure that names nobody, is not what it says it is.
"""

import re
from dataclasses import dataclass

from app.errors import FieldInvalid
from app.incoming import JsonObject, Operation
from app.sources import fields, names

PRIVACY = "privacy_request"
_TOPIC = re.compile(r"([a-z][a-z0-9_]*)([/.])([a-z][a-z0-9_]*)")
_STATE_VERBS = frozenset({"created", "updated", "added", "edited", "published", "enabled"})
_DELETE_VERBS = frozenset({"deleted", "removed", "disconnected"})
_SAVED = ("updated_at", "lastEditDate", "created_at", "creationDate")
_ID_ONLY = frozenset({"id", "admin_graphql_api_id", "deleted_at"})
_NOUNS = {
    "customer.joined_segment": "segment_membership",
    "customer.left_segment": "segment_membership",
    "customer.tags_added": "customer_tags",
    "customer.tags_removed": "customer_tags",
    "customer.redacted": PRIVACY,
    "customer.data_requested": PRIVACY,
    "shop.redacted": PRIVACY,
}
"""By type, as everything here: a stranger may write a topic in more ways than Shopify does."""
_REQUIRED = {
    "customer.redacted": ("shop_id", "customer"),
    "customer.data_requested": ("shop_id", "customer"),
    "shop.redacted": ("shop_id", "shop_domain"),
    "app.uninstalled": ("id", "myshopify_domain"),
}
_IDS = {
    "segment_membership": ("segment_id", "customer_id"),
    "customer_tags": ("customerId",),
    "inventory_level": ("inventory_item_id", "location_id"),
    "product_listing": ("product_id",),
    "collection_listing": ("collection_id",),
    "locale": ("locale",),
}


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic in normal form."""

    name: str
    """As Shopify writes it."""
    type: str
    noun: str
    entity_type: str
    operation: Operation
    is_state: bool
    """Whether the topic says no more than the body does; else the topic itself tells what happened."""
    recurs: bool
    """Whether the same body may rightly come again and again, without any time in it."""


def read(name: str) -> Topic:
    """Return what a topic means.

    Raises:
        FieldInvalid: it has not the form of one.
    """
    found = _TOPIC.fullmatch(name)
    if found is None or len(name) > fields.MAX_LABEL_CHARS - 2:
        raise FieldInvalid("the header x-shopify-topic isn't a topic")
    noun, verb = names.singular(found[1]), names.past(found[3])
    event_type = f"{noun}.{verb}"
    operation = Operation.CREATE if verb == "created" else Operation.UPDATE
    return Topic(
        name=name,
        type=event_type,
        noun=noun,
        entity_type=_NOUNS.get(event_type, noun),
        operation=Operation.DELETE if verb in _DELETE_VERBS or event_type == "customer.left_segment" else operation,
        is_state=verb in _STATE_VERBS and event_type not in _NOUNS,
        recurs=event_type in _NOUNS,
    )


def write(event_type: str) -> str:
    """Return the topic that a normal type stands for: the inverse of ``read``."""
    noun, _, verb = event_type.rpartition(".")
    if event_type in _NOUNS and _NOUNS[event_type] != PRIVACY:
        return event_type
    if noun == "app":
        return f"{noun}/{verb}"
    whole = noun if noun == "shop" else names.plural(noun)
    return f"{whole}/{names.present(verb)}"


def entity(topic: Topic, body: JsonObject) -> tuple[str, JsonObject]:
    """Return where the entity is and what it is, once the body is known to fit the topic.

    Raises:
        FieldInvalid: it doesn't.
    """
    missing = [name for name in _REQUIRED.get(topic.type, ()) if not body.get(name)]
    if missing:
        raise FieldInvalid(f"/{missing[0]} is missing, which {topic.name} must have")
    wrapped = body.get(topic.noun)
    pointer, held = (f"/{topic.noun}", wrapped) if len(body) == 1 and isinstance(wrapped, dict) else ("", body)
    if topic.entity_type == PRIVACY or topic.recurs:
        return pointer, held
    if topic.operation is Operation.DELETE:
        told = next((name for name in _SAVED if held.get(name)), None)
        if told:
            raise FieldInvalid(f"{pointer}/{told} is a save's, not what {topic.name} has")
    elif not held.keys() - _ID_ONLY:
        raise FieldInvalid(f"the body holds an id only, which is not what {topic.name} has")
    return pointer, held


def entity_id(topic: Topic, held: JsonObject, pointer: str) -> str:
    """Return the entity's id, to the digit.

    Raises:
        FieldInvalid: there is none.
    """
    if topic.entity_type == PRIVACY:
        request = held.get("data_request")
        named = request if isinstance(request, dict) and "id" in request else held.get("customer")
        owner = fields.identifier(held["shop_id"], "/shop_id")
        who = fields.identifier(named.get("id"), "/customer/id") if isinstance(named, dict) else ""
        return fields.text(f"{topic.noun}.{topic.type.rpartition('.')[2]}/{owner}/{who}".rstrip("/"), "/shop_id")
    for name in ("id", "admin_graphql_api_id"):
        if held.get(name) is not None and not topic.recurs:
            return fields.identifier(held[name], f"{pointer}/{name}")
    parts = [fields.identifier(held.get(name), f"{pointer}/{name}") for name in _IDS.get(topic.entity_type, ("id",))]
    return fields.text("/".join(parts), f"{pointer}/id")
