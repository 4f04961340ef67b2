"""Owns an event's normal form as JSON: what a conflict keeps, so that it can become an event later. Pure."""

from decimal import Decimal
from typing import Any

from app.events.canonical_json import parse
from app.events.incoming import Clock, Completeness, Incoming, Operation, Version
from app.models import Lane
from app.priority import Decision


def normal_form(incoming: Incoming, decision: Decision) -> dict[str, Any]:
    """Return what, besides its payload, makes an event; numbers as text, to the digit."""
    version = incoming.version
    return {
        "external_id": incoming.external_id,
        "type": incoming.type,
        "entity_type": incoming.entity_type,
        "entity_id": incoming.entity_id,
        "operation": int(incoming.operation),
        "version": None if version is None else [str(version.order), version.text, version.clock.value],
        "sequence": None if incoming.sequence is None else str(incoming.sequence),
        "data_pointer": incoming.data_pointer,
        "delivery_fields": list(incoming.delivery_fields),
        "reuses_ids": incoming.reuses_ids,
        "fact": incoming.fact,
        "state": incoming.state,
        "completeness": int(incoming.completeness),
        "notes": list(incoming.notes),
        "lane": int(decision.lane),
        "priority": decision.priority,
        "reasons": list(decision.reasons),
    }


def read_normal_form(kept: dict[str, Any], payload: str, source: str) -> tuple[Incoming, Decision]:
    """Return the event that ``normal_form`` kept, and where it was to go."""
    version = kept["version"]
    incoming = Incoming(
        source=source,
        external_id=kept["external_id"],
        type=kept["type"],
        entity_type=kept["entity_type"],
        entity_id=kept["entity_id"],
        operation=Operation(kept["operation"]),
        version=None if version is None else Version(Decimal(version[0]), version[1], Clock(version[2])),
        payload=parse(payload.encode()),
        sequence=None if kept["sequence"] is None else Decimal(kept["sequence"]),
        data_pointer=kept["data_pointer"],
        delivery_fields=tuple(kept["delivery_fields"]),
        reuses_ids=kept["reuses_ids"],
        # A release before kept none of these.
        fact=kept.get("fact"),
        state=kept.get("state", True),
        completeness=Completeness(kept.get("completeness", 0)),
        notes=tuple(kept.get("notes", ())),
    )
    return incoming, Decision(Lane(kept["lane"]), kept["priority"], tuple(kept["reasons"]))
