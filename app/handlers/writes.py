"""Owns the statements of apply: entities, typed rows, facts and leads, each table in one statement for a batch.

All of them travel with the transaction's last statement; none is waited for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.dialects import postgresql

from app.db.pipeline import DEFERRED, Executor
from app.db.recordset import packed
from app.events.incoming import Completeness, JsonValue, Operation, StoredEvent
from app.handlers import handler_for, projections
from app.handlers.registry import Row
from app.handlers.version_gate import State
from app.models import Entity, Fact, Lead, Owned

Owner = tuple[int, str, str]
"""An entity's key: source, type and id."""
_OWNER = ("source_id", "entity_type", "entity_id")
_IS_OWNER = "source_id = :source_id AND entity_type = :entity_type AND entity_id = :entity_id"
_ENTITY = (
    *_OWNER,
    *("version", "version_text", "sequence", "operation", "fingerprint", "final", "data", "event_id"),
)
_FACT = (*_OWNER, "event_id", "type")
_LEAD = ("event_id", *_OWNER, "email", "name", "campaign", "captured_at")


@dataclass(frozen=True, slots=True)
class Kept:
    """What an entity becomes, and the event that makes it so."""

    event: StoredEvent
    state: State | None
    new: bool
    """There is none yet."""


def owner(event: StoredEvent) -> Owner:
    """Return the key of an event's entity."""
    return event.source_id, event.entity_type, event.entity_id


def entities(session: Executor, kept: Sequence[Kept]) -> None:
    """Make entities what they become.

    One that another worker has made meanwhile violates the key, on purpose: this transaction didn't see it.
    """
    for new, statement in ((True, _make_entities()), (False, _write_entities())):
        values = [_entity(one) for one in kept if one.new is new]
        if values:
            session.execute(statement, {"rows": packed(values)}, execution_options=DEFERRED)


def typed(session: Executor, kept: Sequence[Kept], rows: Sequence[Sequence[Row] | None]) -> None:
    """Make the typed rows of each owner be these and no others; a new owner has none yet.

    None leaves an owner's rows as they are; data that is partial takes none away.
    """
    wanted: dict[type[Owned], list[Row]] = {}
    for one, of_owner in zip(kept, rows, strict=True):
        handler = handler_for(one.event.entity_type)
        if handler.model is None or of_owner is None:
            continue
        key = _key(one.event)
        whole = one.event.completeness is Completeness.COMPLETE or one.event.operation is Operation.DELETE
        if whole and not one.new and (handler.many or not of_owner):
            values = {**key, "keys": [row["key"] for row in of_owner]}
            drop, _ = _typed(handler.model)  # type: ignore[arg-type]  # a class has a hash
            session.execute(drop, values, execution_options=DEFERRED)
        wanted.setdefault(handler.model, []).extend({**key, **row, "version": one.event.version} for row in of_owner)
    for model, values_of in wanted.items():
        if values_of:
            _, upsert = _typed(model)  # type: ignore[arg-type]  # a class has a hash
            session.execute(upsert, {"rows": packed(values_of)}, execution_options=DEFERRED)


def facts(session: Executor, events: Sequence[tuple[StoredEvent, JsonValue]]) -> None:
    """Record that events happened, and the leads among them; one that is known already violates the key."""
    if not events:
        return
    told = [{**_key(event), "event_id": str(event.id), "type": event.type} for event, _ in events]
    session.execute(_record_facts(), {"rows": packed(told)}, execution_options=DEFERRED)
    leads = [
        {**known, **projections.lead(said if isinstance(said, dict) else {}), "captured_at": event.received_at}
        for known, (event, said) in zip(told, events, strict=True)
        if event.entity_type == "lead" and event.operation is not Operation.DELETE
    ]
    if leads:
        session.execute(_record_leads(), {"rows": packed(leads)}, execution_options=DEFERRED)


def _key(event: StoredEvent) -> dict[str, Any]:
    return dict(zip(_OWNER, owner(event), strict=True))


def _entity(one: Kept) -> dict[str, Any]:
    event, state = one.event, one.state
    return {
        **_key(event),
        "version": event.version,
        "version_text": event.version_text,
        "sequence": event.sequence,
        "operation": int(event.operation),
        "fingerprint": event.fingerprint,
        "final": event.final,
        "data": None if state is None else state.data,
        "event_id": str(event.id),
    }


@cache
def _make_entities() -> TextClause:
    names = ", ".join(_ENTITY)
    return text(
        f"INSERT INTO entity ({names}, applied_at) SELECT {names}, clock_timestamp() "
        f"FROM {_rows(Entity, _ENTITY)} ORDER BY {', '.join(_OWNER)}"
    )


@cache
def _write_entities() -> TextClause:
    # They are there, locked by the fence. A conflict is found by the key, whatever the planner's figures say.
    changed = ", ".join(f"{name} = excluded.{name}" for name in (*_ENTITY, "applied_at") if name not in _OWNER)
    return text(f"{_make_entities().text} ON CONFLICT ({', '.join(_OWNER)}) DO UPDATE SET {changed}")


@cache
def _record_facts() -> TextClause:
    names = ", ".join(_FACT)
    return text(f"INSERT INTO fact ({names}) SELECT {names} FROM {_rows(Fact, _FACT)}")


@cache
def _record_leads() -> TextClause:
    names = ", ".join(_LEAD)
    return text(f"INSERT INTO lead ({names}) SELECT {names} FROM {_rows(Lead, _LEAD)} ON CONFLICT DO NOTHING")


@cache
def _typed(model: type[Owned]) -> tuple[TextClause, TextClause]:
    """Return the statement that deletes an owner's other rows of a typed model, and the one that writes rows."""
    table, names, key = model.__table__.name, _names(model), (*_OWNER, "key")  # type: ignore[attr-defined]  # mapped
    changed = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    others = f"DELETE FROM {table} WHERE {_IS_OWNER} AND key <> ALL(CAST(:keys AS text[]))"
    upsert = (
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(names)} FROM {_rows(model, names)} "
        f"ORDER BY {', '.join(key)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changed}"
    )
    return text(others), text(upsert)


def _names(model: type[Any]) -> tuple[str, ...]:
    return tuple(column.name for column in model.__table__.columns)


def _rows(model: type[Any], names: Sequence[str]) -> str:
    types = {column.name: column.type for column in model.__table__.columns}
    columns = ", ".join(f"{name} {_type_name(types[name])}" for name in names)
    return f"json_to_recordset(CAST(:rows AS json)) AS x({columns})"


def _type_name(column_type: Any) -> str:
    name = str(column_type.compile(dialect=postgresql.dialect())).lower()  # type: ignore[no-untyped-call]
    return "timestamptz" if name == "timestamp with time zone" else name
