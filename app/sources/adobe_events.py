"""Owns the names of Adobe Commerce's events, and which of the fields a subscriber chose hold id and version. Pure."""

from dataclasses import dataclass

from app import versions
from app.errors import FieldInvalid
from app.incoming import JsonObject, Version
from app.sources import fields, names

REUSED = frozenset({"product", "coupon"})
"""A SKU or a coupon code can be given to another product or coupon once it is free."""

_NOUNS = {
    "catalog_product": "product",
    "catalog_category": "category",
    "cataloginventory_stock_item": "stock_item",
    "salesrule_rule": "sales_rule",
    "sales_order": "order",
    "catalogrule_rule": "catalog_rule",
    "newsletter_subscriber": "subscriber",
}
_IDS = {
    "product": ("sku", "entity_id"),
    "coupon": ("code", "coupon_id"),
    "sales_rule": ("rule_id",),
    "catalog_rule": ("rule_id",),
    "customer_group": ("customer_group_id", "id"),
    "stock_item": ("product_id", "item_id"),
    "order": ("entity_id", "increment_id"),
    "subscriber": ("subscriber_id",),
}
_ENDS = ("_commit_after", "_commit_before", "_after", "_before")


@dataclass(frozen=True, slots=True)
class Event:
    """One of Adobe Commerce's events in normal form."""

    type: str
    noun: str


def read(name: str) -> Event:
    """Return what an event code means: ``…observer.catalog_product_save_commit_after`` is ``product.updated``.

    Raises:
        FieldInvalid: it has no noun and verb.
    """
    if ".plugin." in name:
        # A class and its method: sales_rule.model.resource_model.coupon.save
        owner, _, verb = name.rpartition(".")
        noun = owner.rpartition(".")[2]
    else:
        observed = name.rpartition(".")[2]
        for end in _ENDS:
            observed = observed.removesuffix(end)
        noun, _, verb = observed.rpartition("_")
    if not noun or not verb:
        raise FieldInvalid("/type isn't an event code of Adobe Commerce")
    noun = _NOUNS.get(noun, noun).lower()
    return Event(fields.label(f"{noun}.{names.past(verb)}", "/type"), fields.label(noun, "/type"))


def write(event_type: str) -> str:
    """Return the event code of a save or a delete of a noun: the inverse of ``read``."""
    noun, _, verb = event_type.rpartition(".")
    done = "delete" if verb in {"deleted", "removed"} else "save"
    if noun == "coupon":
        return f"com.adobe.commerce.plugin.sales_rule.model.resource_model.coupon.{done}"
    observed = next((name for name, known in _NOUNS.items() if known == noun), noun)
    return f"com.adobe.commerce.observer.{observed}_{done}_commit_after"


def id_field(event_type: str) -> str:
    """Return the field that holds the id of an event type's entity."""
    return _IDS.get(fields.noun(event_type), ("entity_id",))[0]


def entity_id(event: Event, value: JsonObject) -> tuple[str, bool]:
    """Return the entity's id, and whether its like is given to new entities.

    Raises:
        FieldInvalid: none of the fields that may hold it was subscribed to.
    """
    wanted = _IDS.get(event.noun, ("entity_id", "id"))
    name = next((name for name in wanted if value.get(name) not in (None, "")), wanted[0])
    return fields.identifier(value.get(name), f"/data/value/{name}"), event.noun in REUSED and name == wanted[0]


def version(body: JsonObject, value: JsonObject) -> Version | None:
    """Return ``updated_at``, else the time of sending.

    Also of a delete: it carries the last save's, beside which it wins the tie, while its own time of sending, up to a
    minute late, would outdate what was made anew under the same SKU meanwhile.
    """
    if value.get("updated_at"):
        return versions.instant(value["updated_at"], "/data/value/updated_at")
    return None if body.get("time") is None else versions.instant(body["time"], "/time")
