"""Owns apply: one claimed event meets its entity, inside the caller's transaction. Never commits."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.handlers import handler_for, projections
from app.handlers.gate import Position, State, Verdict, judge
from app.handlers.registry import NotProjectable
from app.incoming import JsonValue, Operation
from app.jsontext import dump, parse, resolve
from app.models import Entity, Event, Fact, Lead, Outcome

_OUTCOMES = {
    Verdict.WRITE: Outcome.APPLIED,
    Verdict.ADVANCE: Outcome.UNCHANGED,
    Verdict.SAME: Outcome.UNCHANGED,
    Verdict.STALE: Outcome.STALE,
    Verdict.TOMBSTONED: Outcome.TOMBSTONED,
}


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an event."""

    outcome: Outcome
    notes: tuple[dict[str, Any], ...] = ()
    """Entries for the event's history."""


def apply(session: Session, event: Event) -> Applied:
    """Apply one event: its fact part exactly once, its state part if nothing newer stands.

    Raises:
        SQLAlchemyError: the database refused; nothing is kept.
    """
    data = resolve(parse(event.payload.encode()), event.data_pointer)
    new_fact = event.fact and _record_fact(session, event, data)
    if not event.state:
        return Applied(Outcome.APPLIED if new_fact else Outcome.UNCHANGED)
    verdict, notes = _write_state(session, event, data)
    return Applied(Outcome.APPLIED if new_fact else _OUTCOMES[verdict], tuple(notes))


def _record_fact(session: Session, event: Event, data: JsonValue) -> bool:
    owner = {"source_id": event.source_id, "entity_type": event.entity_type, "entity_id": event.entity_id}
    fact = insert(Fact).values(event_id=event.id, type=event.type, **owner)
    new = session.execute(fact.on_conflict_do_nothing().returning(Fact.event_id)).first() is not None
    if new and event.entity_type == "lead" and event.operation is not Operation.DELETE:
        columns = projections.lead(data if isinstance(data, dict) else {})
        lead = insert(Lead).values(event_id=event.id, captured_at=event.received_at, **owner, **columns)
        session.execute(lead.on_conflict_do_nothing())
    return new


def _write_state(session: Session, event: Event, data: JsonValue) -> tuple[Verdict, list[dict[str, Any]]]:
    deleted = event.operation is Operation.DELETE
    position = Position(event.version, event.sequence, event.operation, event.fingerprint)
    offered = State(position, event.final, None if deleted else dump(data).decode())
    current = _lock_entity(session, event, offered)
    if current is None:
        return Verdict.WRITE, _project(session, event, data)
    standing = State(
        Position(current.version, current.sequence, current.operation, current.fingerprint),
        current.final,
        current.data,
    )
    verdict = judge(standing, offered)
    notes: list[dict[str, Any]] = []
    if position.ties_with(standing.position):
        notes.append({"step": "tie", "with": str(current.event_id)})
    if verdict in {Verdict.WRITE, Verdict.ADVANCE}:
        for column, value in _entity_values(event, offered).items():
            setattr(current, column, value)
        current.applied_at = func.clock_timestamp()
        notes += _project(session, event, data)
    return verdict, notes


def _entity_values(event: Event, offered: State) -> dict[str, Any]:
    return {
        "version": event.version,
        "version_text": event.version_text,
        "sequence": event.sequence,
        "operation": event.operation,
        "fingerprint": event.fingerprint,
        "final": offered.final,
        "data": offered.data,
        "event_id": event.id,
    }


def _lock_entity(session: Session, event: Event, offered: State) -> Entity | None:
    """Return the entity's row, locked; None where this call has just made it from ``offered``."""
    owner = {"source_id": event.source_id, "entity_type": event.entity_type, "entity_id": event.entity_id}
    locked = select(Entity).filter_by(**owner).with_for_update()
    found = session.scalars(locked).one_or_none()
    if found is not None:
        return found
    made = insert(Entity).values(**owner, **_entity_values(event, offered)).on_conflict_do_nothing()
    if session.execute(made.returning(Entity.entity_id)).first() is not None:
        return None
    return session.scalars(locked).one()


def _project(session: Session, event: Event, data: JsonValue) -> list[dict[str, Any]]:
    """Make the typed rows of this owner be what its data says, and no others."""
    handler = handler_for(event.entity_type)
    if handler.model is None or handler.rows is None:
        return []
    model, owner = (
        handler.model,
        {
            "source_id": event.source_id,
            "entity_type": event.entity_type,
            "entity_id": event.entity_id,
        },
    )
    notes: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    if event.operation is not Operation.DELETE:
        try:
            if not isinstance(data, dict):
                raise NotProjectable("the sender's data isn't an object")
            rows = [{"key": "", **row} for row in handler.rows(data)]
        except NotProjectable as error:
            notes.append({"step": "not projected", "detail": str(error)})
    session.execute(
        delete(model).filter_by(**owner).where(model.key.not_in([row["key"] for row in rows]))
        if rows
        else delete(model).filter_by(**owner)
    )
    for row in rows:
        values = {**owner, **row, "version": event.version}
        changed = {column: value for column, value in values.items() if column not in {*owner, "key"}}
        upsert = insert(model).values(values)
        keys = ["source_id", "entity_type", "entity_id", "key"]
        session.execute(upsert.on_conflict_do_update(index_elements=keys, set_=changed))
    return notes
