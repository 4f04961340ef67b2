"""The vendors' catalogues: what each documented topic means, as data. One CSV file a vendor in ``catalogues/``.

Columns, each pointer (RFC 6901) from the root of the body:

``topic``         the vendor's own name
``type``          the event's type in normal form
``entity``        our entity type
``id``            where the entity's id is: ``/a``; joined with a slash ``/a + /b``; the first found ``/a | /b``;
                  ``topic`` in place of a pointer: the id that stands in the topic itself (a channel's);
                  a constant ``=settings``; ``event``: none is documented, so each event is an entity of its own;
                  ``each /list: /a + /b``: one event for each element of an array, pointers from the element (``.`` is
                  the element itself); an object in place of the array is its only element
``version``       pointers, the first that is there; ``counter /n`` where it counts; empty: as the delivery says
``operation``     create, update or delete
``role``          ``state``; ``fact``: it is recorded as something that happened, too; ``fact only``: it is recorded
                  and changes no state, since the data doesn't describe the entity
``completeness``  complete, partial, difference or thin
``data``          the sender's object; empty is the whole body
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from app.errors import FieldInvalid
from app.events import version_reading as versions
from app.events.canonical_json import resolve, with_only
from app.events.incoming import Completeness, Incoming, JsonObject, JsonValue, Operation, Version
from app.sources.kinds import fields
from app.sources.kinds.kind import Delivery
from app.sources.kinds.mapping import MOST_EACH

_FOLDER = files("app.sources.kinds") / "catalogues"
Path = tuple[str, ...]
"""Pointers whose values are joined with a slash; ``topic`` stands for the id in the topic itself."""
_IN_TOPIC = "topic"


@dataclass(frozen=True, slots=True)
class Locator:
    """Where the id of a topic's entity is."""

    written: str
    paths: tuple[Path, ...] = ()
    """The first of which all is there gives the id."""
    constant: str | None = None
    each: str | None = None
    """An array, each element of which is an entity."""

    @property
    def is_event(self) -> bool:
        """Whether each event is an entity of its own."""
        return not self.paths and self.constant is None

    @property
    def is_in_topic(self) -> bool:
        """Whether the id, or a part of it, stands in the topic itself."""
        return any(_IN_TOPIC in path for path in self.paths)

    @classmethod
    def read(cls, written: str) -> "Locator":
        """Return what a cell of the column ``id`` says."""
        if written == "event":
            return cls(written)
        if written.startswith("="):
            return cls(written, constant=written[1:])
        each, colon, rest = written.removeprefix("each ").partition(":")
        paths = tuple(
            tuple(pointer.strip().removeprefix(".") for pointer in path.split("+"))
            for path in (rest if colon else written).split("|")
        )
        return cls(written, paths, each=each.strip() if colon else None)

    def find(self, held: JsonValue, pointer: str = "", topic_id: str | None = None) -> str:
        """Return the id in an object that stands at ``pointer`` in the body; ``topic_id`` is the one in the topic.

        Raises:
            FieldInvalid: there is none, or it can't be one.
        """
        if self.constant is not None:
            return self.constant
        for path in self.paths:
            values = [topic_id if one == _IN_TOPIC else resolve(held, one) for one in path]
            if all(value not in (None, "") for value in values):
                parts = [fields.identifier(value, pointer + one) for one, value in zip(path, values, strict=True)]
                return fields.entity_id("/".join(parts), pointer + path[0])
        missing = next(one for one in self.paths[0] if one != _IN_TOPIC and resolve(held, one) in (None, ""))
        raise FieldInvalid(f"{pointer}{missing} is missing")


@dataclass(frozen=True, slots=True)
class Topic:
    """What one topic means."""

    topic: str
    type: str
    entity_type: str
    id: Locator
    version: tuple[str, ...]
    counts: bool
    """Whether the version is a counter."""
    operation: Operation
    fact: bool
    completeness: Completeness
    data_pointer: str
    state: bool = True
    """Whether the data is the entity's new state."""

    @classmethod
    def read(cls, row: Mapping[str, str]) -> "Topic":
        """Return what a row says."""
        counts = row["version"].startswith("counter ")
        version = row["version"].removeprefix("counter ")
        return cls(
            topic=row["topic"],
            type=row["type"],
            entity_type=row["entity"],
            id=Locator.read(row["id"]),
            version=tuple(pointer.strip() for pointer in version.split("|") if pointer.strip()),
            counts=counts,
            operation=Operation[row["operation"].upper()],
            fact={"fact": True, "fact only": True, "state": False}[row["role"]],
            completeness=Completeness[row["completeness"].upper()],
            data_pointer=row["data"],
            state=row["role"] != "fact only",
        )

    def version_of(self, body: JsonObject) -> Version | None:
        """Return the version that a body states, or None.

        Raises:
            FieldInvalid: it isn't one; a counter is missing.
        """
        found = next((one for one in self.version if resolve(body, one) not in (None, "")), None)
        if found is not None:
            return (versions.counter if self.counts else versions.instant)(resolve(body, found), found)
        if self.counts:
            # The arrival can't stand in for it: any time is greater than any count.
            raise FieldInvalid(f"{self.version[0]} is missing")
        return None

    def events(
        self, delivery: Delivery, source: str, *, version: Version | None = None, topic_id: str | None = None
    ) -> list[Incoming]:
        """Return a delivery's events; ``version`` stands in for what the body or the delivery says.

        ``topic_id`` is the id that stands in the topic itself.

        Raises:
            FieldInvalid: the id or the version isn't there, or isn't one.
        """
        version = version or self.version_of(delivery.body) or delivery.version
        return [self._event(delivery, source, version, *found) for found in self._found(delivery, topic_id)]

    def _found(self, delivery: Delivery, topic_id: str | None) -> Sequence[tuple[str, str, JsonObject]]:
        """Return the id of each entity, where it is described, and the body without the other entities."""
        if self.id.each is None:
            # Where the sender's object is missing or is an array, the body stands in for it.
            described = isinstance(resolve(delivery.body, self.data_pointer), dict)
            entity_id = delivery.own_id if self.id.is_event else self.id.find(delivery.body, topic_id=topic_id)
            return [(entity_id, self.data_pointer if described else "", delivery.body)]
        found = resolve(delivery.body, self.id.each)
        if isinstance(found, dict):
            return [(self.id.find(found, self.id.each), self.id.each, delivery.body)]
        if not isinstance(found, list) or not found:
            raise FieldInvalid(f"{self.id.each} isn't an array with something in it")
        if len(found) > MOST_EACH:
            raise FieldInvalid(f"{self.id.each} has more than {MOST_EACH} elements")
        return [
            (
                self.id.find(element, f"{self.id.each}/{number}"),
                f"{self.id.each}/0",
                with_only(delivery.body, self.id.each, number),
            )
            for number, element in enumerate(found)
        ]

    def _event(  # noqa: PLR0913  # what is found of an entity
        self,
        delivery: Delivery,
        source: str,
        version: Version | None,
        entity_id: str,
        data_pointer: str,
        body: JsonObject,
    ) -> Incoming:
        return Incoming(
            source=source,
            external_id=delivery.key,
            type=self.type,
            entity_type=self.entity_type,
            entity_id=entity_id,
            operation=self.operation,
            version=version,
            payload=body,
            sequence=delivery.sequence,
            data_pointer=data_pointer,
            content_key=delivery.content_key,
            delivery_fields=delivery.delivery_fields,
            fact=True if self.fact or self.id.is_event else None,
            state=self.state and not self.id.is_event,
            completeness=self.completeness,
            notes=delivery.notes,
        )


def vendors() -> list[str]:
    """Return the names of the vendors that have a catalogue."""
    return sorted(path.name.removesuffix(".csv") for path in _FOLDER.iterdir() if path.name.endswith(".csv"))


@cache
def catalogue(vendor: str) -> Mapping[str, Topic]:
    """Return a vendor's topics by the vendor's own names."""
    text = _FOLDER.joinpath(f"{vendor}.csv").read_text("utf-8")
    return {row["topic"]: Topic.read(row) for row in csv.DictReader(text.splitlines())}


def own_entity(delivery: Delivery, source: str, event_type: str, entity_type: str, operation: Operation) -> Incoming:
    """Return the event of a topic of which no id is known: a fact, and an entity of its own."""
    return Incoming(
        source=source,
        external_id=delivery.key,
        type=event_type,
        entity_type=entity_type,
        entity_id=delivery.own_id,
        operation=operation,
        version=delivery.version,
        payload=delivery.body,
        content_key=delivery.content_key,
        delivery_fields=delivery.delivery_fields,
        fact=True,
        state=False,
        completeness=Completeness.THIN,
        notes=delivery.notes,
    )
