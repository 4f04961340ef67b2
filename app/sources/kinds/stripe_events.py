"""Stripe's events: which object each is about, and what of it may be read. Source: docs.stripe.com/api/events."""

from dataclasses import replace
from functools import lru_cache

from app.errors import FieldInvalid
from app.events import version_reading as versions
from app.events.canonical_json import resolve
from app.events.incoming import Completeness, Incoming, JsonObject, Operation, Version
from app.sources.kinds import fields
from app.sources.kinds.catalogue import Locator, Topic, catalogue
from app.sources.kinds.hmac_vendor import Vendor
from app.sources.kinds.kind import Request

_OBJECT = "/data/object"
_EVENTS = ("event", "v2.core.event")
_EVENT = Locator.read("event")
_ONE_EACH = frozenset({"balance", "balance_settings", "tax.settings"})
"""Objects without an id, of which an account has one."""
_UNSAVED = frozenset({"invoice.upcoming", "billing.alert.triggered"})
"""Topics whose object has no id, since it is kept nowhere."""
_STATES = frozenset({"created", "updated", "deleted"})
_TYPED = frozenset({"price", "product", "coupon", "promotion", "discount", "campaign"})
"""Entity types whose typed rows have amounts."""
_AMOUNTS = ("amount", "amount_off", "unit_amount", "unit_amount_decimal")
_MINOR_UNITS = "its amounts are in minor units, which typed rows don't take: they are left as they are"
_NO_PROMOTION = "a customer's discount is no promotion of its own: typed rows are left as they are"


def topic(_request: Request, body: JsonObject) -> str:
    """Return the event's type as Stripe wrote it; empty where the body isn't one of Stripe's."""
    found = body.get("type")
    known = isinstance(resolve(body, _OBJECT), dict) or body.get("object") in _EVENTS or "related_object" in body
    return found if known and isinstance(found, str) else ""


def version(body: JsonObject) -> Version | None:
    """Return when the event happened, or None where that can't be read."""
    try:
        return versions.instant(body.get("created"), "/created")
    except FieldInvalid:
        return None


def row(name: str, body: JsonObject) -> Topic:
    """Return what an event means: of a snapshot the object in it, of a thin event the one that it refers to.

    Raises:
        FieldInvalid: the object's type can't be one.
    """
    held = resolve(body, _OBJECT)
    if not isinstance(held, dict):
        return _thin(name, body.get("related_object"))
    found = catalogue("stripe").get(name) or _by_rule(name)
    told = held.get("object")
    if told != found.entity_type and told not in (None, ""):
        # The type's words aren't the object's name: customer.subscription.deleted is about a subscription.
        found = replace(found, entity_type=fields.topic_label(told, f"{_OBJECT}/object").lower())
    if held.get("id") in (None, ""):
        if found.entity_type in _ONE_EACH and not body.get("account"):
            return replace(found, id=Locator("", constant=found.entity_type))
        if name in _UNSAVED or name not in catalogue("stripe"):
            return replace(found, id=_EVENT)
    return found


def _thin(name: str, related: object) -> Topic:
    found = _by_rule(name)
    kind = related.get("type") if isinstance(related, dict) else None
    if kind in (None, ""):
        about = found.type.rpartition(".")[0].lower() or found.entity_type
        return replace(found, entity_type=about, id=_EVENT, data_pointer="", completeness=Completeness.THIN)
    return replace(
        found,
        entity_type=fields.topic_label(kind, "/related_object/type").lower(),
        id=Locator.read("/related_object/id"),
        data_pointer="",
        completeness=Completeness.THIN,
    )


@lru_cache(1024)
def _by_rule(name: str) -> Topic:
    """Return what a type says by itself that the catalogue doesn't have."""
    event_type = fields.topic_label(name, "/type")
    return Topic(
        topic=name,
        type=event_type,
        entity_type=fields.noun(event_type),
        id=Locator.read(f"{_OBJECT}/id"),
        version=("/created",),
        counts=False,
        operation=fields.operation(event_type),
        fact=event_type.rpartition(".")[2] not in _STATES,
        completeness=Completeness.COMPLETE,
        data_pointer=_OBJECT,
    )


def finish(event: Incoming) -> Incoming:
    """Keep an amount in minor units out of typed rows, whose amounts are in major ones."""
    if event.entity_type not in _TYPED or event.operation is Operation.DELETE:
        return event
    held = resolve(event.payload, event.data_pointer)
    if not isinstance(held, dict):
        return event
    if held.get("object") == "discount":
        note = _NO_PROMOTION
    elif any(held.get(name) is not None for name in _AMOUNTS):
        note = _MINOR_UNITS
    else:
        return event
    return replace(event, completeness=Completeness.THIN, notes=(*event.notes, note))


VENDOR = Vendor(topic, row, version=version, signs_topics=True, finish=finish)
