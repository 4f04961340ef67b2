"""Owns prepare: what is kept of an event, fixed before it is stored: keys, fingerprint, version, finality. Pure."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from app.events.canonical_json import check_depth, dump
from app.events.incoming import Clock, Incoming, Operation
from app.inbox.ids import new_event_id
from app.inbox.schedule import Schedule, schedule_of
from app.models import Outcome
from app.priority import Decision

TOO_FAR_AHEAD = "the version lies further ahead than the allowed skew"
_MOST_TEXT = 500
SOURCE_DISABLED = "source-disabled"


@dataclass(frozen=True, slots=True)
class Held:
    """Why an event is stored as failed, for a person to decide about."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Raw:
    """What arrived of an event that could not be mapped."""

    headers: Mapping[str, str]
    body: bytes
    digest: bytes
    """SHA-256 of the body as it was received; ``body`` is redacted."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """One event, ready to be stored."""

    id: uuid.UUID
    source_id: int
    revision: int
    """The source's, when the event was verified."""
    keys: tuple[bytes, ...]
    """SHA-256 of each idempotency key; the first is the sender's own."""
    fingerprint: bytes
    payload: str
    incoming: Incoming
    decision: Decision
    received_at: datetime
    version: Decimal
    held: Held | None
    final: bool
    schedule: Schedule
    trace: str | None = None
    """The context of the request's trace, where that is sampled."""
    raw: Raw | None = None
    """What arrived, where it could not be mapped."""
    while_disabled: bool = False
    """Whether it is stored although its source is disabled."""

    @property
    def history(self) -> list[dict[str, str]] | None:
        """What could not be understood and was left out, as entries of the event's history."""
        notes = (*self.incoming.notes, *self.schedule.notes)
        at = self.received_at.isoformat()
        return [{"step": "note", "at": at, "detail": storable(note)} for note in notes] if notes else None


def storable(text: str) -> str:
    """Return a text that PostgreSQL can hold, cut to what a person reads."""
    return text[:_MOST_TEXT].encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def prepare(  # noqa: PLR0913  # one event's facts
    incoming: Incoming,
    decision: Decision,
    *,
    event_id: uuid.UUID | None = None,
    source_id: int,
    revision: int,
    received_at: float,
    skew_s: float,
    trace: str | None = None,
    disabled: bool = False,
) -> NewEvent:
    """Return what store keeps of an event. ``received_at`` in Unix seconds, ``skew_s`` the skew a version may have.

    ``disabled``: whether its source is, so that it is only kept.

    Raises:
        BodyMalformed: the payload is nested too deeply to be read again.
    """
    arrival = Decimal(int(received_at * 1_000_000)) / 1_000_000
    version = incoming.version
    timed = version is not None and version.clock is Clock.TIME
    bare = {name: value for name, value in incoming.payload.items() if name not in incoming.delivery_fields}
    payload = dump(incoming.payload)
    check_depth(payload)
    fingerprint = hashlib.sha256(payload if len(bare) == len(incoming.payload) else dump(bare)).digest()
    keys = [b"id:" + incoming.external_id.encode()]
    if incoming.content_key is not None:
        keys.append(b"content:" + incoming.content_key.encode())
    ahead = timed and version is not None and version.order > arrival + Decimal(str(skew_s))
    reason = SOURCE_DISABLED if disabled else TOO_FAR_AHEAD if ahead else None
    return NewEvent(
        id=event_id or new_event_id(),
        source_id=source_id,
        revision=revision,
        keys=tuple(hashlib.sha256(key).digest() for key in keys),
        fingerprint=fingerprint,
        payload=payload.decode(),
        incoming=incoming,
        decision=decision,
        received_at=datetime.fromtimestamp(received_at, UTC),
        version=arrival if version is None else version.order,
        held=None if reason is None else Held(Outcome.QUARANTINED, reason),
        final=version is None and incoming.operation is Operation.DELETE and not incoming.reuses_ids,
        schedule=schedule_of(incoming),
        trace=trace,
        while_disabled=disabled,
    )
