"""The events of Shopify's deliveries: by the catalogue, or by rule where a topic isn't in it. Pure."""

from dataclasses import replace

from app.errors import FieldInvalid
from app.events import version_reading as versions
from app.events.canonical_json import resolve
from app.events.incoming import Completeness, Incoming, JsonObject, Operation, Version
from app.sources.kinds import fields, shopify_bodies
from app.sources.kinds.catalogue import Topic, own_entity
from app.sources.kinds.kind import Delivery

PRIVACY = "privacy_request"
_WITH_VARIANTS = frozenset({"product", "product_listing"})
_DELETES = frozenset({"disconnected", "destroy", "destroyed", "revoke", "revoked"})


def documented(topic: Topic, delivery: Delivery, source: str) -> list[Incoming]:
    """Return the events of a delivery whose topic is in the catalogue.

    Raises:
        FieldInvalid: the topic can't have this body, or the id or the version in it isn't one.
    """
    described = shopify_bodies.check(topic, delivery.body)
    events = topic.events(delivery, source)
    if not described:
        return [replace(one, fact=True, state=False, completeness=Completeness.THIN) for one in events]
    if topic.entity_type == PRIVACY:
        # Erasing a customer and telling what is kept of him are two requests, and so two entities.
        pointer = topic.id.paths[0][-1]
        return [replace(one, entity_id=fields.entity_id(f"{one.type}/{one.entity_id}", pointer)) for one in events]
    if topic.entity_type in _WITH_VARIANTS and topic.operation is not Operation.DELETE:
        return [_as_far_as_told(one) for one in events]
    return events


def _as_far_as_told(event: Incoming) -> Incoming:
    """Mark what tells nothing of some of a product's variants: beyond the first 100 there are only their GIDs."""
    product = resolve(event.payload, event.data_pointer)
    variants, gids = product.get("variants"), product.get("variant_gids")
    if not isinstance(variants, list):
        return replace(event, completeness=Completeness.PARTIAL)
    left_out = len(gids) - len(variants) if isinstance(gids, list) else 0
    if left_out <= 0:
        return event
    several = "s" if left_out > 1 else ""
    note = f"{left_out} variant{several} came without details, so no price of this product was removed"
    return replace(event, completeness=Completeness.PARTIAL, notes=(*event.notes, note))


def by_rule(delivery: Delivery, source: str) -> Incoming:
    """Return the event of a topic that isn't in the catalogue: by its name, and the usual places of id and time.

    Where no id is found, or only something else's, the event is an entity of its own.

    Raises:
        FieldInvalid: the topic deletes, and the body is a save's.
    """
    noun, verb = fields.noun(delivery.type), delivery.type.rpartition(".")[2].lower()
    operation = Operation.DELETE if verb in _DELETES else fields.operation(verb)
    pointer, held = shopify_bodies.unwrapped(delivery.body)
    inner = held.get(noun)
    if not pointer and isinstance(inner, dict) and _id(held) is None:
        pointer, held = f"/{noun}", inner
    if operation is Operation.DELETE:
        shopify_bodies.check_no_save(held, pointer, delivery.topic)
    entity_id = None if shopify_bodies.names_another(held, noun) else _id(held)
    if entity_id is None:
        return own_entity(delivery, source, delivery.type, noun, operation)
    version, notes = _time(held, pointer)
    described = operation is Operation.DELETE or not shopify_bodies.has_only_ids(held)
    return Incoming(
        source=source,
        external_id=delivery.key,
        type=delivery.type,
        entity_type=noun,
        entity_id=entity_id,
        operation=operation,
        version=version or delivery.version,
        payload=delivery.body,
        sequence=delivery.sequence,
        data_pointer=pointer,
        content_key=delivery.content_key,
        fact=None if described else True,
        state=described,
        completeness=Completeness.COMPLETE if described else Completeness.THIN,
        notes=delivery.notes + notes,
    )


def _id(held: JsonObject) -> str | None:
    for name in ("id", "admin_graphql_api_id"):
        if held.get(name) not in (None, ""):
            try:
                return fields.identifier(held[name], name)
            except FieldInvalid:
                return None
    return None


def _time(held: JsonObject, pointer: str) -> tuple[Version | None, tuple[str, ...]]:
    name = shopify_bodies.time_field(held)
    if name is None:
        return None, ()
    try:
        return versions.instant(held[name], f"{pointer}/{name}"), ()
    except FieldInvalid as error:
        return None, (str(error),)
