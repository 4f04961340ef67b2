"""What body a topic of Shopify's can have. Pure.

A topic is not signed, the body is. So a body is held against its topic: a delete that carries a save's time, a body
whose GID names another entity type, or an erasure that names nobody is not what its topic says.
"""

import re
from functools import cache, lru_cache

from app.errors import FieldInvalid
from app.events.canonical_json import resolve
from app.events.incoming import Completeness, JsonObject, Operation
from app.sources.kinds import names
from app.sources.kinds.catalogue import Topic, catalogue

_GID = re.compile(r"gid://shopify/(\w{1,100})/", re.ASCII)
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_TIMES = ("updated_at", "lastEditDate", "occurredAt", "happened_at", "deleted_at")
_SAVED = ("updated_at", "lastEditDate", "created_at", "creationDate")
_IDS = frozenset({"id", "admin_graphql_api_id", "product_id", "collection_id", "deleted_at"})
_REQUIRED = {
    "customers/redact": ("shop_id", "customer"),
    "customers/data_request": ("shop_id", "customer"),
    "shop/redact": ("shop_id", "shop_domain"),
    "app/uninstalled": ("id", "myshopify_domain"),
    "fulfillment_events/delete": ("fulfillment_id",),
}
"""The fields, be they null, by which a body is known that would do harm under the wrong topic."""
_FOREIGN = {"customers/redact": "data_request", "shop/redact": "customer"}
"""The field by which the body of another privacy topic is known."""
_CLASSES = {
    "DeliveryProfile": "profile",
    "DiscountAutomaticNode": "discount",
    "DiscountCodeNode": "discount",
    "MarketRegion": "markets_backup_region",
    "ProductVariant": "variant",
}
"""The classes in GIDs that have another name than their topics."""


def check(topic: Topic, body: JsonObject) -> bool:
    """Hold a body against a topic of the catalogue; return whether it describes the entity or only says which one.

    Raises:
        FieldInvalid: the topic can't have this body.
    """
    missing = next((name for name in _REQUIRED.get(topic.topic, ()) if name not in body), None)
    if missing:
        raise FieldInvalid(f"/{missing} is missing, which {topic.topic} must have")
    # The settings of a shop are the only ones of their kind, so their body has no id.
    foreign = "id" if topic.id.constant is not None else _FOREIGN.get(topic.topic)
    if foreign in body:
        raise FieldInvalid(f"/{foreign} isn't what {topic.topic} has")
    pointer = topic.data_pointer
    held = resolve(body, pointer) if pointer else body
    if topic.id.is_event or not isinstance(held, dict):
        return True
    other = names_another(held, topic.type.partition(".")[0], topic.entity_type)
    if other:
        raise FieldInvalid(f"{pointer}{other} doesn't name what {topic.topic} is about")
    if topic.operation is Operation.DELETE:
        # Some deletes carry the whole object, the time of its last save included.
        if topic.topic not in _REQUIRED and not any(one.endswith("/updated_at") for one in topic.version):
            check_no_save(held, pointer, topic.topic)
        return True
    if not has_only_ids(held):
        return True
    if held and topic.state and topic.entity_type in _deleted_by_id():
        raise FieldInvalid(f"the body holds an id only, which is not what {topic.topic} has")
    return False


@cache
def _deleted_by_id() -> frozenset[str]:
    """Return the entity types whose deletes have a body of ids: under the topic of a save it is no save's."""
    return frozenset(
        topic.entity_type
        for topic in catalogue("shopify").values()
        if topic.operation is Operation.DELETE and topic.completeness is Completeness.THIN
    )


def check_no_save(held: JsonObject, pointer: str, name: str) -> None:
    """Hold the body of a delete against its topic.

    Raises:
        FieldInvalid: it carries the time of a save.
    """
    told = next((field for field in _SAVED if held.get(field)), None)
    if told:
        raise FieldInvalid(f"{pointer}/{told} is a save's, not what {name} has")


def has_only_ids(held: JsonObject) -> bool:
    """Tell whether an object says nothing but which one it is."""
    return not held.keys() - _IDS


def names_another(held: JsonObject, *entity_types: str) -> str | None:
    """Return the pointer to a GID in an object that names an entity of another documented type, or None."""
    for name in ("admin_graphql_api_id", "id"):
        value = held.get(name)
        found = _GID.match(value) if isinstance(value, str) else None
        if found is not None and _entity_type(found[1]) not in {None, *entity_types}:
            return f"/{name}"
    return None


@lru_cache(maxsize=256)
def _entity_type(gid_class: str) -> str | None:
    entity_type = _CLASSES.get(gid_class) or names.singular(names.snake(gid_class))
    known = any(topic.entity_type == entity_type for topic in catalogue("shopify").values())
    return entity_type if known else None


def time_field(held: JsonObject) -> str | None:
    """Return the field of an object that says when it became what it is, or None."""
    return next((name for name in _TIMES if held.get(name)), None)


def unwrapped(body: JsonObject) -> tuple[str, JsonObject]:
    """Return where the sender's object is, and the object: the only thing in a body, or the body itself."""
    if len(body) == 1:
        ((name, held),) = body.items()
        if isinstance(held, dict) and _KEY.fullmatch(name):
            return f"/{name}", held
    return "", body
