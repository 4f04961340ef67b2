"""Owns short words for the tests of priority policies."""

from typing import Any

from app.events.incoming import JsonObject
from app.priority import Compiled, Policy, read_policy

AT = 1_795_759_200.0
"""2026-11-27T06:00:00Z."""
HOUR = 3_600.0
OTHERWISE = {"name": "the rest", "lane": "medium", "priority": 5}


def document(*rules: JsonObject, **rest: Any) -> JsonObject:
    """Return a policy as an admin writes it."""
    return {"rules": list(rules), "otherwise": OTHERWISE, **rest}


def sending(entity_type: str, lane: str, name: str = "it", **more: Any) -> JsonObject:
    """Return a rule that sends an entity type to a lane."""
    return {"name": name, "when": {"entity_type": entity_type}, "lane": lane, **more}


def policy(*rules: JsonObject, **rest: Any) -> Policy:
    return read_policy(document(*rules, **rest))


def compiled(*rules: JsonObject, matrix: JsonObject | None = None) -> Compiled:
    """Return a policy of version 7, ready to be asked."""
    document: JsonObject = {"rules": list(rules), "otherwise": OTHERWISE}
    return Compiled(read_policy(document if matrix is None else {**document, "matrix": matrix}), 7)


def matrix(**factors: Any) -> JsonObject:
    """Return a matrix for campaigns with a threshold in each lane."""
    thresholds = [
        {"score": 70, "lane": "high", "priority": 9},
        {"score": 30, "lane": "medium", "priority": 4},
        {"score": 0, "lane": "low", "priority": 1},
    ]
    return {"when": {"entity_type": "campaign"}, "factors": factors, "thresholds": thresholds}


URGENCY = {
    "weight": 3,
    "start": "/starts_at",
    "end": "/ends_at",
    "breakpoints": [[0, 100], [HOUR, 90], [24 * HOUR, 10]],
    "running": 50,
}
REVENUE = {"weight": 1, "readings": [{"pointer": "/revenue", "breakpoints": [[0, 0], [1000, 100]]}]}
