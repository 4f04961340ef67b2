"""Owns the bodies that ``tiercel send`` makes: for each kind, the envelope that its real sender would send.

A kind that is missing here can be sent with a body given whole.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.cli import vendorbodies
from app.errors import ConfigInvalid
from app.events.canonical_json import dump, resolve
from app.events.incoming import JsonObject, JsonValue, Operation
from app.sources.kinds import adobe_events, fields, names, shopify_topics
from app.sources.kinds.adobe_io import AdobeConfig
from app.sources.kinds.catalogue import catalogue
from app.sources.kinds.cloudevents_config import CloudEventsConfig
from app.sources.kinds.hmac_config import HmacConfig
from app.sources.kinds.kind import Config
from app.sources.kinds.standard import StandardConfig


@dataclass(frozen=True, slots=True)
class Example:
    """One event to make a body for."""

    key: str
    type: str
    data: JsonValue
    """The sender's object; None is to make an example."""
    number: int
    """Counts from 1; examples of different numbers are different entities."""
    sent_at: float
    """Unix seconds."""
    secret: str
    config: Config

    @property
    def noun(self) -> str:
        """What the event is about."""
        return self.type.partition(".")[0]

    @property
    def deletes(self) -> bool:
        """Whether the type tells of a deletion."""
        return self.type.endswith((".deleted", ".removed"))

    @property
    def entity_id(self) -> str:
        """The example's id."""
        return f"example-{self.number}"

    @property
    def time(self) -> str:
        """The time of sending as RFC 3339, to the millisecond."""
        return fields.rfc3339(self.sent_at)


@dataclass(frozen=True, slots=True)
class Maker:
    """How a kind's bodies are made."""

    default_type: str
    make: Callable[[Example], JsonObject]


_SHOPIFY_ID = 9_007_199_254_740_992
"""2^53: ids there are longer than what JavaScript can count to."""
_EXAMPLES: dict[str, JsonObject] = {
    "currency": {"code": "EUR", "exchange_rate": 1, "enabled": True, "default": False},
    "price": {"sku": "EXAMPLE-SKU", "amount": "19.90", "currency": "EUR"},
}


def default_type(kind: str, config: Config) -> str:
    """Return the type of the example that a source's sender would send."""
    vendor = config.vendor if isinstance(config, HmacConfig) else None
    if vendor is not None:
        return vendorbodies.DEFAULT_TYPES[vendor]
    return MAKERS[kind].default_type if kind in MAKERS else "example.updated"


def body(kind: str, wanted: Example) -> bytes:
    """Return the body that a kind's real sender would send.

    Raises:
        ConfigInvalid: nothing is known about this kind's bodies.
    """
    if kind not in MAKERS:
        raise ConfigInvalid(f"send can't make a body of kind {kind!r}; give one with --body, and --type")
    return dump(MAKERS[kind].make(wanted))


def _example(wanted: Example) -> JsonObject:
    if wanted.deletes:
        return {"id": wanted.entity_id}
    return {"id": wanted.entity_id, **_EXAMPLES.get(wanted.noun, {"name": "an example"})}


def _standard(wanted: Example) -> JsonObject:
    data = wanted.data
    if data is None:
        data = {**_example(wanted), "updated_at": wanted.time}
    made: JsonObject = {"type": wanted.type, "timestamp": wanted.time, "data": data}
    if wanted.data is None and isinstance(wanted.config, StandardConfig):
        _put(made, wanted.config.id_pointer, wanted.entity_id)
        _put(made, wanted.config.version_pointer, wanted.time)
    return made


def _hmac(wanted: Example) -> JsonObject:
    config = wanted.config if isinstance(wanted.config, HmacConfig) else HmacConfig()
    if config.vendor is not None:
        return vendorbodies.MAKERS[config.vendor](wanted)
    data = _example(wanted) if wanted.data is None else wanted.data
    made: JsonObject = {"type": wanted.type, "data": data}
    if config.data_pointer:
        _put(made, config.data_pointer, data)
    _put(made, config.type_pointer, wanted.type)
    _put(made, config.key_pointer, wanted.key)
    _put(made, config.entity_pointer, wanted.noun)
    _put(made, config.operation_pointer, wanted.type.rpartition(".")[2])
    if wanted.data is None:
        counted = int(wanted.sent_at * 1000)
        _put(made, config.id_pointer, wanted.entity_id)
        _put(made, config.version_pointer, wanted.time if config.version_clock == "time" else counted)
        _put(made, config.sequence_pointer, counted)
    return made


def _elasticpath(wanted: Example) -> JsonObject:
    # Deletes and catalog releases stand in the payload itself.
    release = wanted.noun == "catalog-release"
    flat = wanted.deletes or release
    data = wanted.data
    if data is None:
        data = {**_example(wanted), "type": wanted.noun}
        if not wanted.deletes:
            times = {"created_at": wanted.time, "published_at" if release else "updated_at": wanted.time}
            data["meta"] = times if release else {"timestamps": times}
    return {
        "id": wanted.key,
        "triggered_by": wanted.type,
        "attempt": 1,
        "integration": {"id": "example-integration", "integration_type": "webhook", "name": "tiercel send"},
        "payload": data if flat else {"data": data},
        # Elastic Path really sends the secret along.
        "configuration": {"url": "https://receiver.example/", "secret_key": wanted.secret},
    }


def _shopify(wanted: Example) -> JsonObject:
    if isinstance(wanted.data, dict):
        return wanted.data
    number = _SHOPIFY_ID + wanted.number
    gid = f"gid://shopify/{wanted.noun.title()}/{number}"
    topic = shopify_topics.of_type(wanted.type)
    made: JsonObject = {"id": number}
    if not wanted.deletes and (topic is None or topic.operation is not Operation.DELETE):
        made |= {"admin_graphql_api_id": gid, "title": "An example", "updated_at": wanted.time}
        if wanted.noun == "product":
            made["variants"] = [{"id": number, "title": "One", "sku": "EXAMPLE-SKU", "price": "19.90"}]
    if topic is not None:
        for pointer in topic.id.paths[0] if topic.id.paths else ():
            _put(made, (topic.id.each or "") + pointer, gid if pointer.endswith("admin_graphql_api_id") else number)
        if topic.data_pointer:
            _put(made, f"{topic.data_pointer}/title", "An example")
        if topic.counts:
            _put(made, topic.version[0], int(wanted.sent_at * 1000))
    return made


def _adobe(wanted: Example) -> JsonObject:
    value = wanted.data
    if value is None:
        value = {adobe_events.id_field(wanted.type): wanted.entity_id}
        # Naive UTC to the second, as Adobe Commerce writes it.
        value |= {"updated_at": wanted.time[:19].replace("T", " "), "name": "An example", "price": "19.900000"}
    client_id = wanted.config.client_id if isinstance(wanted.config, AdobeConfig) else None
    return {
        **_cloudevent(
            wanted, adobe_events.write(wanted.type), {"key": wanted.key, "value": value, "source": "example"}
        ),
        "eventid": wanted.key,
        "recipientclientid": client_id or "example-client",
    }


_ORDER_UPDATES = {"fulfilled": "FULFILLED", "refunded": "REFUNDED", "cancelled": "CANCELED"}


def _squarespace(wanted: Example) -> JsonObject:
    verb = wanted.type.rpartition(".")[2]
    update = _ORDER_UPDATES.get(verb) if wanted.noun == "order" else None
    verb = names.present("updated" if update else verb)
    named = {"order": "orderId", "extension": "clientId"}.get(wanted.noun, "id")
    example = {named: wanted.entity_id, **({"update": update} if update else {})}
    return {
        "id": wanted.key,
        "websiteId": "example-website",
        "subscriptionId": "example-subscription",
        "topic": f"{wanted.noun}.{verb}",
        "createdOn": wanted.time[:16] + "+00:00",
        "data": example if wanted.data is None else wanted.data,
    }


def _bigcommerce(wanted: Example) -> JsonObject:
    noun, _, verb = wanted.type.rpartition(".")
    topic = next((topic for topic in catalogue("bigcommerce").values() if topic.type == wanted.type), None)
    made: JsonObject = {
        "scope": f"store/{noun}/{verb}" if topic is None else topic.topic.replace("{channel_id}", "1"),
        "store_id": "1000",
        "producer": "stores/example",
        "hash": hashlib.sha1(wanted.key.encode(), usedforsecurity=False).hexdigest(),
        "created_at": int(wanted.sent_at),
    }
    if wanted.data is not None:
        return {**made, "data": wanted.data}
    pointers = ("/data/id",) if topic is None else topic.id.paths[0]
    made["data"] = {"type": noun} if "/data/id" in pointers else {}
    for pointer in pointers:
        if pointer.startswith("/"):
            _put(made, pointer, wanted.entity_id)
    return made


def _cloudevents(wanted: Example) -> JsonObject:
    made = _cloudevent(wanted, wanted.type, _example(wanted) if wanted.data is None else wanted.data)
    config = wanted.config if isinstance(wanted.config, CloudEventsConfig) else CloudEventsConfig()
    if wanted.data is None:
        made["subject"] = wanted.entity_id
        counted = int(wanted.sent_at * 1000)
        _put(made, config.entity_pointer, wanted.noun)
        _put(made, config.id_pointer, wanted.entity_id)
        _put(made, config.version_pointer, wanted.time if config.version_clock == "time" else counted)
        if config.order_by == "sequence":
            made["sequence"] = str(counted)
    return made


def _cloudevent(wanted: Example, type_: str, data: JsonValue) -> JsonObject:
    return {
        "specversion": "1.0",
        "id": wanted.key,
        "source": "urn:example:tiercel-send",
        "type": type_,
        "time": wanted.time,
        "datacontenttype": "application/json",
        "data": data,
    }


def _put(body: JsonObject, pointer: str | None, value: JsonValue) -> None:
    """Set what a JSON pointer (RFC 6901) names, unless something is there; never through what isn't an object."""
    if pointer is None or resolve(body, pointer) is not None:
        return
    *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.removeprefix("/").split("/")]
    at: Any = body
    for step in steps:
        at = at.setdefault(step, {}) if isinstance(at, dict) else None
    if isinstance(at, dict):
        at[last] = value


MAKERS: dict[str, Maker] = {
    "adobe-io": Maker("product.updated", _adobe),
    "bigcommerce": Maker("product.updated", _bigcommerce),
    "cloudevents": Maker("price.updated", _cloudevents),
    "elasticpath": Maker("currency.updated", _elasticpath),
    "hmac": Maker("price.updated", _hmac),
    "shopify": Maker("product.updated", _shopify),
    "squarespace": Maker("order.updated", _squarespace),
    "standard": Maker("price.updated", _standard),
}
