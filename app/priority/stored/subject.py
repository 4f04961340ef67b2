"""Owns what a policy can be asked about besides an arriving event: a stored event, or one that somebody made up."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import FieldInvalid
from app.events.canonical_json import parse_object, resolve
from app.events.incoming import Incoming, JsonObject, JsonValue, Operation
from app.models import Event, Source

_Text = Annotated[str, Field(min_length=1, max_length=512)]


@dataclass(frozen=True, slots=True)
class Subject:
    """One event to ask about."""

    incoming: Incoming
    kind: str
    """The kind of its source."""
    at: float
    """When it arrived, in Unix seconds."""


class MadeUp(BaseModel):
    """An event as somebody writes it to ask about it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    source: _Text = "made-up"
    kind: _Text = "standard"
    entity_type: _Text | None = None
    """The first word of the type where it isn't given."""
    entity_id: _Text = "made-up"
    payload: dict[str, Any] = Field(default_factory=dict)
    """The whole body."""
    data: dict[str, Any] | None = None
    """In place of the payload: the sender's object alone."""
    data_pointer: str | None = None
    """Where the sender's object is in the payload; ``/data`` where there is one."""


def made_up(value: JsonValue, at: float) -> Subject:
    """Return an event that somebody wrote down; ``at`` is when it is to have arrived, in Unix seconds.

    Raises:
        FieldInvalid: names each field that can't be, and why.
    """
    try:
        given = MadeUp.model_validate(value)
    except ValidationError as error:
        wrong = "; ".join(f"/{'/'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise FieldInvalid(f"the event: {wrong}") from None
    if given.data is not None and given.payload:
        raise FieldInvalid("the event: either payload or data, not both")
    payload: JsonObject = given.payload if given.data is None else {"type": given.type, "data": given.data}
    pointer = given.data_pointer
    if pointer is None:
        pointer = "/data" if isinstance(payload.get("data"), dict) else ""
    if resolve(payload, pointer) is None:
        raise FieldInvalid("the event: data_pointer names nothing in the payload")
    incoming = Incoming(
        source=given.source,
        external_id="made-up",
        type=given.type,
        entity_type=given.entity_type or given.type.partition(".")[0].lower(),
        entity_id=given.entity_id,
        operation=Operation.UPDATE,
        version=None,
        payload=payload,
        data_pointer=pointer,
    )
    return Subject(incoming, given.kind, at)


def stored(session: Session, event: Event, source: str) -> Subject:
    """Return a stored event as it was when it arrived, to the digit; ``source`` is its source's name."""
    kind = session.scalars(select(Source.kind).where(Source.id == event.source_id)).one()
    incoming = Incoming(
        source=source,
        external_id=event.external_id,
        type=event.type,
        entity_type=event.entity_type,
        entity_id=event.entity_id,
        operation=event.operation,
        version=None,
        payload=parse_object(event.payload.encode()),
        data_pointer=event.data_pointer,
    )
    return Subject(incoming, kind, event.received_at.timestamp())
