"""Owns how the vendors' names become normal ones: ``products/update`` is ``product.updated``. Pure, and reversible."""

import re

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PAST = {
    "create": "created",
    "update": "updated",
    "save": "updated",
    "delete": "deleted",
    "add": "added",
    "remove": "removed",
    "edit": "edited",
    "enable": "enabled",
    "disable": "disabled",
    "publish": "published",
    "cancel": "cancelled",
    "place": "placed",
    "connect": "connected",
    "disconnect": "disconnected",
    "redact": "redacted",
    "data_request": "data_requested",
    "uninstall": "uninstalled",
}
_PRESENT = {past: present for present, past in _PAST.items() if present != "save"}


def past(verb: str) -> str:
    """Return a verb's past tense where it is one of the vendors' own, else the word as it is."""
    return _PAST.get(verb, verb)


def present(verb: str) -> str:
    """Return the vendors' form of a past tense: the inverse of ``past``."""
    return _PRESENT.get(verb, verb)


def singular(noun: str) -> str:
    """Return an English plural's singular: products, companies, taxes, but not process."""
    if noun.endswith("ies"):
        return noun[:-3] + "y"
    if noun.endswith(("sses", "xes", "ches", "shes")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun


def plural(noun: str) -> str:
    """Return an English noun's plural: the inverse of ``singular``."""
    if noun.endswith("y") and not noun.endswith(("ay", "ey", "oy", "uy")):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("ss", "x", "ch", "sh")) else "s")


def snake(name: str) -> str:
    """Return a camelCase name in snake_case."""
    return _HUMP.sub("_", name).lower()
