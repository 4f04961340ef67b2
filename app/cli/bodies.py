"""Owns the bodies that ``tiercel send`` makes: for each kind, the envelope that its real sender would send.

A kind that is missing here can be sent with a body given whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.errors import ConfigInvalid
from app.incoming import JsonObject, JsonValue
from app.jsontext import dump, resolve
from app.sources.hmac_config import HmacConfig
from app.sources.kind import Config
from app.sources.standard import StandardConfig


@dataclass(frozen=True, slots=True)
class Wanted:
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
        return datetime.fromtimestamp(self.sent_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Maker:
    """How a kind's bodies are made."""

    default_type: str
    make: Callable[[Wanted], JsonObject]


_EXAMPLES: dict[str, JsonObject] = {
    "currency": {"code": "EUR", "exchange_rate": 1, "enabled": True, "default": False},
    "price": {"sku": "EXAMPLE-SKU", "amount": "19.90", "currency": "EUR"},
}


def body(kind: str, wanted: Wanted) -> bytes:
    """Return the body that a kind's real sender would send.

    Raises:
        ConfigInvalid: nothing is known about this kind's bodies.
    """
    if kind not in MAKERS:
        raise ConfigInvalid(f"send can't make a body of kind {kind!r}; give one with --body, and --type")
    return dump(MAKERS[kind].make(wanted))


def _example(wanted: Wanted) -> JsonObject:
    if wanted.deletes:
        return {"id": wanted.entity_id}
    return {"id": wanted.entity_id, **_EXAMPLES.get(wanted.noun, {"name": "an example"})}


def _standard(wanted: Wanted) -> JsonObject:
    data = wanted.data
    if data is None:
        data = {**_example(wanted), "updated_at": wanted.time}
    made: JsonObject = {"type": wanted.type, "timestamp": wanted.time, "data": data}
    if wanted.data is None and isinstance(wanted.config, StandardConfig):
        _put(made, wanted.config.id_pointer, wanted.entity_id)
        _put(made, wanted.config.version_pointer, wanted.time)
    return made


def _hmac(wanted: Wanted) -> JsonObject:
    config = wanted.config if isinstance(wanted.config, HmacConfig) else HmacConfig()
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


def _elasticpath(wanted: Wanted) -> JsonObject:
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
    "elasticpath": Maker("currency.updated", _elasticpath),
    "hmac": Maker("price.updated", _hmac),
    "standard": Maker("price.updated", _standard),
}
