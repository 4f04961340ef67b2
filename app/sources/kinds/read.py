"""Reading a verified delivery: parse it, then map it by the source's own rules or by its kind's catalogue. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from app.events.canonical_json import digest
from app.events.incoming import Incoming
from app.sources.kinds import mapping
from app.sources.kinds.kind import Config, Delivery, Kind, Request
from app.sources.kinds.mapping import Rule


@dataclass(frozen=True, slots=True)
class Reading:
    """What a delivery says."""

    delivery: Delivery
    rule: Rule | None
    """The source's own rule that decided; None where its kind's catalogue did."""
    events: Sequence[Incoming]
    """One for each entity; none where the rule says to ignore the delivery."""


def read(kind: Kind, request: Request, secrets: Sequence[str], config: Config, source: str) -> Reading:
    """Return what a verified delivery says.

    Raises:
        BodyMalformed, FieldInvalid: it can't be read.
    """
    delivery = kind.open(request, secrets, config)
    return interpret(kind, delivery, request, config, source)


def interpret(kind: Kind, delivery: Delivery, request: Request, config: Config, source: str) -> Reading:
    """Return what a parsed delivery says.

    Raises:
        FieldInvalid: an entity, an operation or a field of it can't be read.
    """
    rule = mapping.rule_for(config.mapping, delivery) if config.mapping else None
    if rule is None:
        events = kind.interpret(delivery, request, config, source)
    else:
        events = [] if rule.ignore else _by_rule(rule, kind, delivery, config, source)
    if len(events) > 1 or delivery.shared_key:
        events = _keyed(events)
    return Reading(delivery, rule, events)


def _by_rule(rule: Rule, kind: Kind, delivery: Delivery, config: Config, source: str) -> Sequence[Incoming]:
    """Return what a rule of the source's says; which ids come again is its kind's to know, and its options'."""
    every = getattr(config, "reuses_ids", False)
    return [
        replace(event, reuses_ids=True) if every or event.entity_type in kind.reused_ids else event
        for event in mapping.incoming(rule, delivery, source)
    ]


def _keyed(events: Sequence[Incoming]) -> list[Incoming]:
    """Give each of several events of one delivery keys of its own."""
    seen: Counter[tuple[str, str]] = Counter()
    keyed = []
    for event in events:
        # Where a body has an entity twice, what stands later counts for more.
        nth = seen[event.entity_type, event.entity_id]
        seen[event.entity_type, event.entity_id] += 1
        again = [nth] if nth else []
        content_key = event.content_key
        if content_key is not None and len(events) > 1:
            content_key = digest([content_key, event.entity_type, event.entity_id, *again]).hex()
        named = [event.entity_type] if len(events) > 1 else []
        key = digest([event.external_id, event.type, *named, event.entity_id, *again]).hex()
        sequence = event.sequence if not nth else (event.sequence or Decimal(0)) + nth
        keyed.append(replace(event, external_id=key, content_key=content_key, sequence=sequence))
    return keyed
