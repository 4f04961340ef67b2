"""Owns the normal form of an event: what every source is turned into."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

JsonValue = Any
JsonObject = dict[str, Any]


class Operation(IntEnum):
    """What the sender did to the entity; the value ranks a tie: delete > update > create."""

    CREATE = 1
    UPDATE = 2
    DELETE = 3


class Completeness(IntEnum):
    """How much of its entity an event's data describes."""

    COMPLETE = 0
    """Everything: what the data lacks isn't there any more."""
    PARTIAL = 1
    """Some of it: what the data lacks is unchanged."""
    DIFFERENCE = 2
    """What changed, relative to a state that the data doesn't give."""
    THIN = 3
    """Ids only: the sender has to be asked for the rest."""


class Clock(Enum):
    """What a version counts."""

    TIME = "time"
    """Seconds since the epoch: compared with our clock, so that a future version can be quarantined."""
    COUNTER = "counter"
    """The sender's own counter: only compared with its like."""


@dataclass(frozen=True, slots=True)
class Version:
    """One point on a sender's clock."""

    order: Decimal
    """The exact value that is compared: seconds since the epoch, or the counter."""
    text: str
    """As the sender wrote it."""
    clock: Clock = Clock.TIME


@dataclass(frozen=True, slots=True)
class Incoming:
    """One event in normal form."""

    source: str
    """The configured source's name."""
    external_id: str
    """The sender's idempotency key."""
    type: str
    """``noun.past-tense``, as in ``currency.updated``."""
    entity_type: str
    """The platform's own noun in the singular."""
    entity_id: str
    """The sender's id of the entity, as text, to the digit."""
    operation: Operation
    version: Version | None
    """None where the sender gives none: then the event counts from its arrival."""
    payload: JsonObject
    """The whole body, redacted."""
    sequence: Decimal | None = None
    """The sender's own sequence inside one version, where there is one."""
    data_pointer: str = ""
    """JSON pointer (RFC 6901) to the sender's object inside the payload; empty is the whole payload."""
    content_key: str | None = None
    """A second idempotency key over the content, where the first may change between attempts."""
    delivery_fields: tuple[str, ...] = ()
    """Top-level fields that differ between attempts of one delivery; left out of the fingerprint."""
    reuses_ids: bool = False
    """Whether the sender gives a deleted id to a new entity: then a tombstone without a version can be lifted."""
    fact: bool | None = None
    """Whether the event is recorded as a fact; None where the entity type's handler decides."""
    state: bool = True
    """Whether the data is the entity's new state; False for a fact about an entity that it doesn't describe."""
    completeness: Completeness = Completeness.COMPLETE
    notes: tuple[str, ...] = ()
    """What could not be understood and was left out, in words: shown on the event's timeline."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One kept event, as apply needs it."""

    id: uuid.UUID
    source_id: int
    entity_type: str
    entity_id: str
    type: str
    operation: Operation
    version: Decimal
    """The arrival in Unix seconds where the sender gave none."""
    version_text: str | None
    sequence: Decimal
    fingerprint: bytes
    final: bool
    """A delete that nothing can lift."""
    state: bool
    fact: bool
    payload: str
    data_pointer: str
    received_at: datetime
    completeness: Completeness = Completeness.COMPLETE
    expired: str | None = None
    """Why it is too late to be applied, if it is."""
