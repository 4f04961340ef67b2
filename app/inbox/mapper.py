"""From a verified request to the events that are stored: mapped where it can be read, unmapped where not. Pure."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from app.errors import BodyMalformed, FieldInvalid
from app.events.incoming import Incoming
from app.inbox.ids import new_event_id
from app.inbox.prepare import NewEvent, prepare
from app.inbox.unmapped import unmapped
from app.priority import Decision
from app.sources.kinds import Kind, Request
from app.sources.kinds.kind import Config, Delivery
from app.sources.kinds.ndjson import MOST_EVENTS
from app.sources.kinds.read import interpret

_MOST_CHARS = 4 * 1024 * 1024
"""What the entities of one request may take in all, beside the first of each delivery: more is not stored in time."""
UNREADABLE = (BodyMalformed, FieldInvalid)
"""What reading a verified delivery raises."""


class _Room:
    """What the deliveries of one request may still bring beside their first entities."""

    def __init__(self, deliveries: int) -> None:
        self._events = MOST_EVENTS - deliveries
        self._chars = _MOST_CHARS

    def taken(self, events: Iterable[NewEvent]) -> list[NewEvent]:
        """Return a delivery's events.

        Raises:
            FieldInvalid: they don't fit; the other deliveries have as much room as before.
        """
        found: list[NewEvent] = []
        chars = 0
        for event in events:
            chars += len(event.payload) if found else 0
            if len(found) > self._events or chars > self._chars:
                raise FieldInvalid("the request describes more entities than can be stored together")
            found.append(event)
        self._events -= max(0, len(found) - 1)
        self._chars -= chars
        return found


@dataclass(frozen=True, slots=True)
class Mapper:
    """What a source's verified requests are mapped with, as its options are now."""

    source: str
    source_id: int
    revision: int
    kind: Kind
    config: Config
    secrets: Sequence[str]
    """Those that are valid, for redaction."""
    decide: Callable[[Incoming, float], Decision]
    """(event, its arrival in Unix seconds): its lane."""
    skew_s: float
    disabled: bool = False
    """Whether the source is disabled, so that events are only kept."""
    trace: str | None = None

    def events(self, request: Request) -> tuple[list[NewEvent], bool]:
        """Return the events of a request, and whether it is one of several.

        Raises:
            BodyTooLarge: there are too many. Nothing else is refused: what can't be read is unmapped.
        """
        try:
            parts = self.kind.split(request, self.config)
        except UNREADABLE as error:
            return [self._unmapped(request, str(error), None, None)], False
        if parts is None:
            events = self._read(request, None, _Room(1))
            return events, len(events) != 1
        # Ids made in one millisecond have no order; where two events of a batch share a key, the first is to stand.
        ids = sorted(new_event_id() for _ in parts)
        room = _Room(len(parts))
        read = (self._read(part, made, room) for part, made in zip(parts, ids, strict=True))
        return [event for events in read for event in events], True

    def prepared(self, incoming: Incoming, received_at: float, event_id: uuid.UUID | None = None) -> NewEvent:
        """Return what is stored of an event in normal form."""
        return prepare(
            incoming,
            self.decide(incoming, received_at),
            event_id=event_id,
            source_id=self.source_id,
            revision=self.revision,
            received_at=received_at,
            skew_s=self.skew_s,
            trace=self.trace,
            disabled=self.disabled,
        )

    def of_one(self, incoming: Sequence[Incoming], received_at: float, event_id: uuid.UUID) -> list[NewEvent]:
        """Return what is stored of one delivery's events in normal form; the first has the given id.

        Raises:
            FieldInvalid: they are more than can be stored together.
        """
        return _Room(1).taken(
            self.prepared(one, received_at, None if number else event_id) for number, one in enumerate(incoming)
        )

    def _read(self, request: Request, event_id: uuid.UUID | None, room: "_Room") -> list[NewEvent]:
        """Return the events of one delivery; one that can't be read is unmapped as a whole."""
        delivery = None
        try:
            delivery = self.kind.open(request, self.secrets, self.config)
            reading = interpret(self.kind, delivery, request, self.config, self.source)
            return room.taken(
                self.prepared(incoming, request.received_at, None if number else event_id)
                for number, incoming in enumerate(reading.events)
            )
        except UNREADABLE as error:
            return [self._unmapped(request, str(error), delivery, event_id)]

    def _unmapped(
        self, request: Request, reason: str, delivery: Delivery | None, event_id: uuid.UUID | None
    ) -> NewEvent:
        return unmapped(
            request,
            reason,
            kind=self.kind,
            config=self.config,
            secrets=self.secrets,
            source=self.source,
            source_id=self.source_id,
            revision=self.revision,
            delivery=delivery,
            event_id=event_id,
            trace=self.trace,
            disabled=self.disabled,
        )
