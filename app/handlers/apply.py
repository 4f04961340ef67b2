"""Owns apply: one claimed event meets its entity, inside the caller's transaction. Never commits."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import TextClause, text

from app.bare import LATER, Executor
from app.handlers import handler_for, projections
from app.handlers.gate import Position, State, Verdict, judge
from app.handlers.registry import NotProjectable
from app.incoming import JsonValue, Operation, StoredEvent
from app.jsontext import dump, parse, resolve
from app.models import Outcome, Owned

_OUTCOMES = {
    Verdict.WRITE: Outcome.APPLIED,
    Verdict.ADVANCE: Outcome.UNCHANGED,
    Verdict.SAME: Outcome.UNCHANGED,
    Verdict.STALE: Outcome.STALE,
    Verdict.TOMBSTONED: Outcome.TOMBSTONED,
}
_OWNER = "source_id = :source_id AND entity_type = :entity_type AND entity_id = :entity_id"
_LOCK_ENTITY = text(f"""
SELECT version, sequence, operation, fingerprint, final, data, event_id FROM entity WHERE {_OWNER} FOR UPDATE
""")
_MAKE_ENTITY = text("""
INSERT INTO entity (source_id, entity_type, entity_id, version, version_text, sequence, operation, fingerprint, final,
                    data, event_id, applied_at)
VALUES (:source_id, :entity_type, :entity_id, :version, :version_text, :sequence, :operation, :fingerprint, :final,
        :data, :event_id, clock_timestamp())
ON CONFLICT DO NOTHING
""")
_WRITE_ENTITY = text(f"""
UPDATE entity SET version = :version, version_text = :version_text, sequence = :sequence, operation = :operation,
       fingerprint = :fingerprint, final = :final, data = :data, event_id = :event_id, applied_at = clock_timestamp()
WHERE {_OWNER}
""")
_RECORD_FACT = text("""
INSERT INTO fact (event_id, source_id, entity_type, entity_id, type)
VALUES (:event_id, :source_id, :entity_type, :entity_id, :type) ON CONFLICT DO NOTHING
""")
_RECORD_LEAD = text("""
INSERT INTO lead (event_id, source_id, entity_type, entity_id, email, name, campaign, captured_at)
VALUES (:event_id, :source_id, :entity_type, :entity_id, :email, :name, :campaign, :captured_at)
ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an event."""

    outcome: Outcome
    notes: tuple[dict[str, Any], ...] = ()
    """Entries for the event's history."""


def apply(session: Executor, event: StoredEvent) -> Applied:
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


def _record_fact(session: Executor, event: StoredEvent, data: JsonValue) -> bool:
    values = {**_owner(event), "event_id": event.id, "type": event.type}
    recorded: Any = session.execute(_RECORD_FACT, values)
    if not recorded.rowcount:
        return False
    if event.entity_type == "lead" and event.operation is not Operation.DELETE:
        columns = projections.lead(data if isinstance(data, dict) else {})
        session.execute(_RECORD_LEAD, {**values, **columns, "captured_at": event.received_at}, execution_options=LATER)
    return True


def _write_state(session: Executor, event: StoredEvent, data: JsonValue) -> tuple[Verdict, list[dict[str, Any]]]:
    deleted = event.operation is Operation.DELETE
    position = Position(event.version, event.sequence, event.operation, event.fingerprint)
    offered = State(position, event.final, None if deleted else dump(data).decode())
    values = {
        **_owner(event),
        "version": event.version,
        "version_text": event.version_text,
        "sequence": event.sequence,
        "operation": int(event.operation),
        "fingerprint": event.fingerprint,
        "final": event.final,
        "data": offered.data,
        "event_id": event.id,
    }
    # What is probably new is inserted first, what is probably there is looked up first: a round trip less either way.
    likely_new = event.operation is Operation.CREATE or handler_for(event.entity_type).always_fact
    current = None if likely_new else session.execute(_LOCK_ENTITY, _owner(event)).one_or_none()
    if current is None:
        made: Any = session.execute(_MAKE_ENTITY, values)
        if made.rowcount:
            return Verdict.WRITE, _project(session, event, data, new=True)
        # It was there, or another worker has just made it; that one's transaction has ended by now.
        current = session.execute(_LOCK_ENTITY, _owner(event)).one()
    standing = State(
        Position(current.version, current.sequence, Operation(current.operation), bytes(current.fingerprint)),
        current.final,
        current.data,
    )
    verdict = judge(standing, offered)
    notes: list[dict[str, Any]] = []
    if position.ties_with(standing.position):
        notes.append({"step": "tie", "with": str(current.event_id)})
    if verdict in {Verdict.WRITE, Verdict.ADVANCE}:
        session.execute(_WRITE_ENTITY, values, execution_options=LATER)
        notes += _project(session, event, data, new=False)
    return verdict, notes


def _project(session: Executor, event: StoredEvent, data: JsonValue, *, new: bool) -> list[dict[str, Any]]:
    """Make the typed rows of this owner be what its data says, and no others; a ``new`` owner has none yet."""
    handler = handler_for(event.entity_type)
    if handler.model is None or handler.rows is None:
        return []
    notes: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    if event.operation is not Operation.DELETE:
        try:
            if not isinstance(data, dict):
                raise NotProjectable("the sender's data isn't an object")
            rows = [{"key": "", **row} for row in handler.rows(data)]
        except NotProjectable as error:
            notes.append({"step": "not projected", "detail": str(error)})
    drop_others, upsert = _typed_statements(handler.model)  # type: ignore[arg-type]  # a class has a hash
    if not new and (handler.many or not rows):
        kept = {**_owner(event), "keys": [row["key"] for row in rows]}
        session.execute(drop_others, kept, execution_options=LATER)
    for row in rows:
        session.execute(upsert, {**_owner(event), **row, "version": event.version}, execution_options=LATER)
    return notes


@cache
def _typed_statements(model: type[Owned]) -> tuple[TextClause, TextClause]:
    """Return the statements that delete an owner's other rows, and that write one row, of a typed model."""
    owner = ("source_id", "entity_type", "entity_id", "key")
    table = model.__table__  # type: ignore[attr-defined]  # each is a mapped class
    columns = [column.name for column in table.columns]
    changed = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in owner)
    others = f"DELETE FROM {table.name} WHERE {_OWNER} AND key <> ALL(CAST(:keys AS text[]))"
    upsert = (
        f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(':' + name for name in columns)}) "
        f"ON CONFLICT ({', '.join(owner)}) DO UPDATE SET {changed}"
    )
    return text(others), text(upsert)


def _owner(event: StoredEvent) -> dict[str, Any]:
    return {"source_id": event.source_id, "entity_type": event.entity_type, "entity_id": event.entity_id}
