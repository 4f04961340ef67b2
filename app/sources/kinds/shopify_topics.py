"""Shopify's topics: the event types that they stand for, and by what their bodies are known again. Pure."""

import re
from collections.abc import Mapping
from functools import cache

from app.events.canonical_json import resolve
from app.events.incoming import JsonObject, Operation
from app.sources.kinds import fields, names
from app.sources.kinds.catalogue import Topic, catalogue
from app.sources.kinds.shopify_bodies import time_field, unwrapped

_TOPIC = re.compile(r"([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)")
_SAVES = frozenset({"created", "updated", "added", "edited", "published", "enabled"})
"""Verbs that say no more than the body does."""
_OWN_IDS = frozenset({"/id", "/admin_graphql_api_id", "/fulfillment_hold/id"})
"""Where an id stands that Shopify never gives to another entity."""


def type_of(name: str) -> str:
    """Return a topic's event type, however the topic is written: the catalogue's, or by rule.

    Raises:
        FieldInvalid: the topic is missing, or names nothing.
    """
    known = catalogue("shopify").get(name)
    if known is None:
        ruled = _ruled(name)
        known = _by_type().get(ruled)
        if known is None:
            return ruled
    return known.type


def of_type(event_type: str) -> Topic | None:
    """Return what the catalogue says of an event type, or None."""
    return _by_type().get(event_type)


def write(event_type: str) -> str:
    """Return the topic that an event type stands for: the inverse of ``type_of``."""
    known = _by_type().get(event_type)
    if known is not None:
        return known.topic
    noun, _, verb = event_type.rpartition(".")
    return f"{noun if noun in {'app', 'shop'} else names.plural(noun)}/{names.present(verb)}"


def _ruled(name: str) -> str:
    """Return a topic's type by rule: ``products/update`` is ``product.updated``."""
    label = fields.topic_label(name, "the header x-shopify-topic")
    found = _TOPIC.fullmatch(label)
    if found is None:
        return label
    ruled = f"{names.singular(found[1]) or found[1]}.{names.past(found[2])}"
    return ruled if len(ruled) <= fields.MAX_LABEL_CHARS else label


@cache
def _by_type() -> Mapping[str, Topic]:
    """Return the catalogue by event type: by its own, and by those that the rule would give."""
    topics = catalogue("shopify").values()
    return {_ruled(topic.topic): topic for topic in topics} | {topic.type: topic for topic in topics}


def states_time(topic: Topic | None, body: JsonObject) -> bool:
    """Tell whether a body itself says which state it is: by its version, or by the time of a save."""
    if topic is None:
        return time_field(unwrapped(body)[1]) is not None
    return bool(body.get("updated_at")) or any(resolve(body, one) not in (None, "") for one in topic.version)


def is_save(event_type: str, topic: Topic | None) -> bool:
    """Tell whether a topic says no more than its body does, so that the body may come under others, too."""
    if topic is not None and (topic.fact or topic.operation is Operation.DELETE):
        return False
    return event_type.rpartition(".")[2] in _SAVES


def recurs(topic: Topic | None, *, stated: bool) -> bool:
    """Tell whether the very same body may rightly come again, ``stated`` being whether there is a time in it.

    A variant is in stock, out of stock and in stock again with the same ``updated_at``. Without a time, only what
    creates or deletes an entity with an id of its own comes once: a locale, a listing or a membership may come back.
    """
    if topic is None:
        return not stated
    if stated:
        return topic.entity_type == "variant"
    return topic.fact or topic.operation is Operation.UPDATE or topic.id.written not in _OWN_IDS
