"""Owns how two policies differ, as the history shows it: rules by name, everything else by path."""

from collections.abc import Iterator
from typing import Any

from app.events.incoming import JsonObject, JsonValue

Change = dict[str, Any]
"""``{"change": "added|removed|changed|moved", "what", "before", "after"}``."""


def diff(before: JsonObject, after: JsonObject) -> list[Change]:
    """Return what one has to change in ``before`` to get ``after``; empty where they say the same.

    Either may be a document of another release, whatever it holds.
    """
    old, new = _by_name(before.get("rules", [])), _by_name(after.get("rules", []))
    if old is None or new is None:
        return list(_between("", before, after))
    changes = list(_between("/rules", old, new))
    if [name for name in old if name in new] != [name for name in new if name in old]:
        changes.append(_change("moved", "/rules", list(old), list(new)))
    rest = [{name: part for name, part in policy.items() if name != "rules"} for policy in (before, after)]
    return changes + list(_between("", *rest))


def _by_name(rules: JsonValue) -> JsonObject | None:
    if not isinstance(rules, list) or not all(isinstance(rule, dict) and "name" in rule for rule in rules):
        return None
    return {rule["name"]: rule for rule in rules}


def _between(path: str, before: JsonObject, after: JsonObject) -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        here = f"{path}/{name}"
        if name not in after:
            yield _change("removed", here, before[name], None)
        elif name not in before:
            yield _change("added", here, None, after[name])
        elif isinstance(before[name], dict) and isinstance(after[name], dict):
            yield from _between(here, before[name], after[name])
        elif before[name] != after[name]:
            yield _change("changed", here, before[name], after[name])


def _change(change: str, what: str, before: JsonValue, after: JsonValue) -> Change:
    return {"change": change, "what": what, "before": before, "after": after}
