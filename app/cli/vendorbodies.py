"""The bodies that ``tiercel send`` makes for the vendors that the kind ``hmac`` knows by name."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from app.events.incoming import JsonObject, JsonValue
from app.sources.kinds import github_events
from app.sources.kinds.catalogue import catalogue

if TYPE_CHECKING:
    from app.cli.bodies import Example


def _stripe(wanted: "Example") -> JsonObject:
    held: JsonValue = wanted.data
    if held is None:
        known = catalogue("stripe").get(wanted.type)
        held = {"id": wanted.entity_id, "object": wanted.noun if known is None else known.entity_type}
        if wanted.noun == "price":
            held |= {"product": "example-product", "currency": "eur", "unit_amount": 1990}
    return {
        "id": wanted.key,
        "object": "event",
        "created": int(wanted.sent_at),
        "livemode": False,
        "type": wanted.type,
        "data": {"object": held},
    }


def _woocommerce(wanted: "Example") -> JsonObject:
    if isinstance(wanted.data, dict):
        return wanted.data
    if wanted.deletes:
        return {"id": wanted.number}
    modified = wanted.time[:19]
    return {"id": wanted.number, "name": "An example", "date_modified_gmt": modified, "price": "19.90"}


def _github(wanted: "Example") -> JsonObject:
    event, action = github_events.event_of(wanted.type)
    row = github_events.row(f"{event}.{action}" if action else event, {})
    login, number = "an-example", wanted.number
    made: JsonObject = {
        "action": action,
        "repository": {"id": number, "name": "example", "updated_at": wanted.time},
        "sender": {"id": number, "login": login},
    }
    for name in github_events.besides(row):
        made[name] = {"id": number}
    if row.entity_type == "hook":
        made["hook_id"] = number
    about = row.data_pointer.removeprefix("/") or wanted.noun
    held = {"id": number, "updated_at": wanted.time} if wanted.data is None else wanted.data
    return made if row.topic.startswith("star") else {**made, about: held}


MAKERS: Mapping[str, Callable[["Example"], JsonObject]] = {
    "stripe": _stripe,
    "woocommerce": _woocommerce,
    "github": _github,
}
DEFAULT_TYPES: Mapping[str, str] = {
    "stripe": "price.updated",
    "woocommerce": "product.updated",
    "github": "issue.opened",
}
"""The types of the examples."""
