"""Owns prioritise: which lane an event belongs to, and why. Pure.

The default mapping: what changes what a customer sees or pays -> high; what shapes who sees it -> medium; what only
records -> low. The first rule that matches decides; its reason is kept on the event.
"""

from collections.abc import Callable
from dataclasses import dataclass

from app.incoming import Incoming
from app.models import Lane

DEFAULT_PRIORITY = 5
"""In-queue priority (0-9) where a rule says nothing else."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where an event goes, and why."""

    lane: Lane
    priority: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the mapping."""

    name: str
    matches: Callable[[str, str], bool]
    """(entity type, verb)"""
    lane: Lane
    priority: int = DEFAULT_PRIORITY


def _nouns(*nouns: str) -> Callable[[str, str], bool]:
    wanted = frozenset(nouns)
    return lambda entity_type, _verb: entity_type in wanted


def _verbs(*verbs: str) -> Callable[[str, str], bool]:
    wanted = frozenset(verbs)
    return lambda _entity_type, verb: verb in wanted


RULES: tuple[Rule, ...] = (
    Rule("bulk re-syncs wait", _verbs("resynced", "imported", "synced"), Lane.LOW, 1),
    Rule("stock-outs are urgent", _verbs("out_of_stock", "sold_out", "stocked_out"), Lane.HIGH, 9),
    Rule("prices are urgent", _nouns("price", "pricebook", "catalog-release", "catalog-rule"), Lane.HIGH, 8),
    Rule("promotions are urgent", _nouns("promotion", "discount", "coupon", "campaign"), Lane.HIGH, 7),
    Rule("stock is urgent", _nouns("stock", "stock-transaction", "inventory_level", "inventory"), Lane.HIGH, 6),
    Rule("logs and analytics wait", _nouns("log", "analytics", "metric", "audit", "page_view", "view"), Lane.LOW, 0),
)


def prioritise(incoming: Incoming) -> Decision:
    """Return the lane, the in-queue priority and the reasons for an event."""
    verb = incoming.type.rpartition(".")[2]
    for rule in RULES:
        if rule.matches(incoming.entity_type, verb):
            return Decision(rule.lane, rule.priority, (rule.name,))
    return Decision(Lane.MEDIUM, DEFAULT_PRIORITY, ("everything else is medium",))
