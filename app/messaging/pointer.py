"""Owns what travels through RabbitMQ: pointers to events, never the events themselves."""

import uuid
from dataclasses import dataclass

from app.models import Lane


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a message carries: an event and the dispatch generation that the message belongs to."""

    event_id: uuid.UUID
    generation: int


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One pointer and where to send it."""

    pointer: Pointer
    lane: Lane
    priority: int
    trace: str | None = None
    """The context of a sampled event, for the span of its publishing."""
