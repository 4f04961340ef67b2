"""Owns the reference model: what any order of arrival, with any repetition, must end in.

Written from the design's rules and not from ``app.handlers.version_gate``, so that one can be held against the other:
it has no current state and judges nothing. It looks at all of an entity's events at once and picks the one that
stands.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from app.events.canonical_json import digest, dump, resolve
from app.events.incoming import Incoming, Operation

EntityKey = tuple[str, str, str]
"""Source, entity type, entity id."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """One accepted event that isn't quarantined, as the rules see it."""

    event: str
    """Whatever names the event, the same for each of its repetitions."""
    key: EntityKey
    operation: Operation
    version: Decimal
    """The arrival where the sender gave none."""
    sequence: Decimal
    fingerprint: bytes
    final: bool
    """A delete without a version, of a sender that never gives an id to a second entity."""
    data: str
    """The sender's object as canonical JSON; a delete's isn't looked at."""
    fact: bool


class Row(NamedTuple):
    """One entity in the end."""

    version: Decimal
    deleted: bool
    data: str | None


def accepted(event: str, incoming: Incoming, arrived_at: Decimal, *, fact: bool) -> Accepted:
    """Return an event as the rules see it; ``arrived_at`` in Unix seconds, as it was stored."""
    told = {name: value for name, value in incoming.payload.items() if name not in incoming.delivery_fields}
    unversioned = incoming.version is None
    return Accepted(
        event=event,
        key=(incoming.source, incoming.entity_type, incoming.entity_id),
        operation=incoming.operation,
        version=incoming.version.order if incoming.version else arrived_at,
        sequence=incoming.sequence or Decimal(0),
        fingerprint=digest(told),
        final=unversioned and incoming.operation is Operation.DELETE and not incoming.reuses_ids,
        data=dump(resolve(incoming.payload, incoming.data_pointer)).decode(),
        fact=fact,
    )


def reference(events: Iterable[Accepted]) -> tuple[dict[EntityKey, Row], set[str]]:
    """Return the final rows, and the events whose fact is recorded, of accepted events in any order."""
    by_entity: dict[EntityKey, list[Accepted]] = {}
    facts: set[str] = set()
    for event in events:
        by_entity.setdefault(event.key, []).append(event)
        if event.fact:
            facts.add(event.event)
    return {key: _standing(told) for key, told in by_entity.items()}, facts


def _standing(told: list[Accepted]) -> Row:
    # A final delete beats every save and every other delete, whenever it comes; else the newest in the total order.
    newest = max(
        [event for event in told if event.final] or told,
        key=lambda event: (event.version, event.sequence, _RANK[event.operation], event.fingerprint),
    )
    deleted = newest.operation is Operation.DELETE
    return Row(newest.version, deleted, None if deleted else newest.data)


_RANK = {Operation.CREATE: 0, Operation.UPDATE: 1, Operation.DELETE: 2}
