"""What Adobe Commerce's event codes mean: those of the catalogue, subscribers' own aliases of them, and all others."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from app.errors import FieldInvalid
from app.events.incoming import Completeness, JsonValue, Operation
from app.sources.kinds import fields, names
from app.sources.kinds.catalogue import Locator, Topic, catalogue

REUSED = frozenset({"product", "coupon"})
"""A SKU or a coupon code can be given to another product or coupon once it is free."""

_PREFIX = "com.adobe.commerce."
_OWN_MODULES = "plugin.magento."
_VALUE = "/data/value"
_DEFAULT_ID = Locator.read(f"{_VALUE}/entity_id | {_VALUE}/id")
_NO_ID = Locator.read("event")
_VERSION = (f"{_VALUE}/updated_at",)
# What an observer's code ends in, and what a subscriber's alias has after that.
_END = re.compile(r"(?:_commit)?_(?:after|before)(?:_|$)")
_SERVICES = ("_repository", "_management")
_SEPARATORS = "/: "
_TRUE = (True, "1", "true")


@dataclass(frozen=True, slots=True)
class EventCode:
    """What one event code means."""

    topic: Topic
    known: bool
    """Whether the catalogue has it, so that its id is where the catalogue says or the event can't be read."""

    @property
    def type(self) -> str:
        """The event's type in normal form."""
        return self.topic.type

    def operation(self, value: JsonValue) -> Operation:
        """Return the operation on the object in ``value``: ``_isNew`` tells a create from an update.

        Source: developer.adobe.com/commerce/extensibility/events, "Create event subscriptions with original data".
        """
        saves = self.topic.operation is Operation.UPDATE and not self.topic.fact
        if saves and isinstance(value, dict) and value.get("_isNew") in _TRUE:
            return Operation.CREATE
        return self.topic.operation


def type_of(name: str) -> str:
    """Return an event code's type, or nothing where it names none."""
    try:
        return read(name).type
    except FieldInvalid:
        return ""


@lru_cache(maxsize=2_000)
def read(name: str) -> EventCode:
    """Return what an event code means: ``…observer.catalog_product_save_commit_after`` is ``product.updated``.

    A conditional event has a name of its subscriber's own, usually a known code and a suffix: it means what the
    longest known code at its beginning means. All other codes are read by the rule that Adobe names them by.

    Raises:
        FieldInvalid: it is empty, has more than 512 characters, or holds control characters.
    """
    if not name or len(name) > fields.MAX_CHARS:
        raise FieldInvalid(f"/type must have 1 to {fields.MAX_CHARS} characters")
    code = name.removeprefix(_PREFIX)
    if code.startswith(_OWN_MODULES):
        code = "plugin." + code.removeprefix(_OWN_MODULES)
    known = catalogue("adobe")
    found = known.get(code)
    if found is None:
        longest = max((one for one in known if code.startswith((f"{one}_", f"{one}."))), key=len, default="")
        found = known.get(longest)
    return EventCode(_by_rule(code), known=False) if found is None else EventCode(found, known=True)


def _by_rule(code: str) -> Topic:
    """Read a code by its parts; an id is only looked for where they name a thing."""
    owner, noun, verb = _split(code)
    sibling = _by_owner().get(owner)
    if sibling is not None:
        noun, located = sibling.entity_type, sibling.id
    elif not noun:
        noun, located = "event", _NO_ID
    else:
        noun, located = _by_noun(owner, noun)
    event_type = fields.topic_label(f"{noun}.{names.past(verb)}", "/type")
    return Topic(
        topic=code,
        type=event_type,
        entity_type=fields.topic_label(noun, "/type").lower(),
        id=located,
        version=_VERSION,
        counts=False,
        operation=fields.operation(event_type),
        fact=False,
        completeness=Completeness.PARTIAL,
        data_pointer=_VALUE,
    )


def _by_noun(owner: str, noun: str) -> tuple[str, Locator]:
    """Return the entity type that a class or model stands for, and where its id is."""
    same = _by_entity().get(noun)
    if same is None:
        return noun, _DEFAULT_ID
    module = _module(owner)
    if module and not any(_module(one) == module for one, topic in _by_owner().items() if topic.entity_type == noun):
        # A class that only has the name of a known entity: what another module calls an order isn't the shop's.
        return f"{module}_{noun}", _DEFAULT_ID
    return noun, same.id


def _split(code: str) -> tuple[str, str, str]:
    """Return a code without its verb, the noun in that, and the verb; no noun where there is but one word."""
    if code.startswith("plugin.") or ".plugin." in code:
        # A class and its method: plugin.sales_rule.model.resource_model.coupon.save
        owner, _, verb = code.rpartition(".")
        noun = owner.rpartition(".")[2] if "." in owner else ""
        for service in _SERVICES:
            noun = noun.removesuffix(service) or noun
    else:
        observed = code.rpartition(".")[2]
        end = _END.search(observed, 1)
        noun, _, verb = (observed if end is None else observed[: end.start()]).rpartition("_")
        owner = f"observer.{noun}"
    return (owner, noun.lower(), verb) if noun.strip(_SEPARATORS) and verb else (code, "", verb or code)


def _module(owner: str) -> str:
    return owner.split(".")[1] if owner.startswith("plugin.") else ""


@cache
def _by_owner() -> Mapping[str, Topic]:
    """Return a topic of the catalogue for each class or model that has one."""
    found: dict[str, Topic] = {}
    for code, topic in _plain().items():
        found.setdefault(_split(code)[0], topic)
    return found


@cache
def _by_entity() -> Mapping[str, Topic]:
    """Return a topic of the catalogue for each entity type that has one."""
    found: dict[str, Topic] = {}
    for topic in _plain().values():
        found.setdefault(topic.entity_type, topic)
    return found


@cache
def _by_type() -> Mapping[str, Topic]:
    """Return the topic to send for each event type that has one."""
    found: dict[str, Topic] = {}
    for topic in _plain().values():
        found.setdefault(topic.type, topic)
    return found


@cache
def _plain() -> Mapping[str, Topic]:
    """Return the topics whose entity is the value itself, not an object in it."""
    return {code: one for code, one in catalogue("adobe").items() if one.data_pointer == _VALUE}


def write(event_type: str) -> str:
    """Return the event code for a type of event: the inverse of ``read``."""
    topic = _by_type().get(event_type)
    if topic is not None:
        return _PREFIX + topic.topic
    noun, _, verb = event_type.rpartition(".")
    done = "delete" if verb in {"deleted", "removed"} else "save"
    return f"{_PREFIX}observer.{noun}_{done}_commit_after"


def id_field(event_type: str) -> str:
    """Return the field that holds the id of an event type's entity."""
    topic = _by_entity().get(fields.noun(event_type))
    located = _DEFAULT_ID if topic is None else topic.id
    return located.paths[0][0].rpartition("/")[2]
