"""Owns apply: claimed events meet their entities, inside the caller's transaction. Never commits.

What stands came with the fence, so every write travels with the COMMIT; only a product, which doesn't say what its
prices are in, asks for its source's options.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from sqlalchemy import text

from app.db.pipeline import Executor
from app.events.canonical_json import dump, parse, resolve
from app.events.incoming import Completeness, JsonValue, Operation, StoredEvent
from app.handlers import handler_for, requests, writes
from app.handlers.registry import NotedRows, NotProjectable, Row, Shop
from app.handlers.version_gate import Position, State, Verdict, judge
from app.models import Outcome

_OUTCOMES = {
    Verdict.WRITE: Outcome.APPLIED,
    Verdict.ADVANCE: Outcome.UNCHANGED,
    Verdict.SAME: Outcome.UNCHANGED,
    Verdict.STALE: Outcome.STALE,
    Verdict.TOMBSTONED: Outcome.TOMBSTONED,
}
_SHOP = text("SELECT config ->> 'currency' FROM source WHERE id = :source_id")


@dataclass(frozen=True, slots=True)
class Fenced:
    """A claimed event with what stands where it goes, all of it locked."""

    event: StoredEvent
    standing: State | None
    """Its entity; None where there is none yet."""
    standing_event_id: uuid.UUID | None
    """The event that made the entity what it is."""
    fact_known: bool
    """Whether its fact was recorded before."""
    attempts: int
    """Including this one; 0 in a batch."""
    traced: dict[str, Any] | None = None
    """What its spans are to tell, where it is sampled (app/observability/tracing)."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an event."""

    outcome: Outcome
    notes: tuple[dict[str, Any], ...] = ()
    """Entries for the event's history."""


@dataclass(slots=True)
class _Standing:
    """An entity while the events of one batch meet it, one after another."""

    new: bool
    state: State | None
    event_id: uuid.UUID | None
    winner: int | None = None
    """The place of the event that made it so, where it was one of these."""


@dataclass(slots=True)
class _Result:
    outcome: Outcome
    notes: list[dict[str, Any]] = field(default_factory=list)


def apply(session: Executor, fenced: Sequence[Fenced], within_s: float | None = None) -> list[Applied | None]:
    """Apply events: the fact part of each exactly once, its state part if nothing newer stands.

    Each entity is written once, as the last of its events leaves it, whatever their number. Once handlers have taken
    ``within_s`` the entities that haven't had their turn are left alone: their events' place in the answer is None.

    Raises:
        Transient: a row that wasn't there has come meanwhile; nothing is kept.
        psycopg2.Error: the database refused; nothing is kept.
    """
    said = [resolve(parse(one.event.payload.encode()), one.event.data_pointer) for one in fenced]
    standing: dict[writes.Owner, _Standing] = {}
    results: dict[int, _Result] = {}
    for place in sorted(range(len(fenced)), key=lambda place: _position(fenced[place].event)):
        results[place] = _meet(fenced[place], said[place], place, standing)
    kept: list[writes.Kept] = []
    rows: list[Sequence[Row] | None] = []
    left: set[writes.Owner] = set()
    shop = cache(partial(_shop, session))
    began = time.monotonic()
    for owner, entity in standing.items():
        if entity.winner is not None:
            if within_s is not None and kept and time.monotonic() - began > within_s:
                left.add(owner)
                continue
            event = fenced[entity.winner].event
            kept.append(writes.Kept(event, entity.state, entity.new))
            notes = results[entity.winner].notes
            rows.append(_rows(event, said[entity.winner], notes, partial(shop, event.source_id)))
    writes.entities(session, kept)
    writes.typed(session, kept, rows)
    done = [place for place, one in enumerate(fenced) if writes.owner(one.event) not in left]
    facts = [place for place in done if fenced[place].event.fact and not fenced[place].fact_known]
    writes.facts(session, [(fenced[place].event, said[place]) for place in facts])
    for place in facts:
        if handler_for(fenced[place].event.entity_type).asks:
            requests.record(session, fenced[place].event, said[place])
    ended: list[Applied | None] = [None] * len(fenced)
    for place in done:
        ended[place] = Applied(results[place].outcome, tuple(results[place].notes))
    return ended


def _meet(one: Fenced, said: JsonValue, place: int, standing: dict[writes.Owner, _Standing]) -> _Result:
    """Let one event meet its entity; return what becomes of the event."""
    event = one.event
    new_fact = event.fact and not one.fact_known
    if not event.state:
        return _Result(Outcome.APPLIED if new_fact else Outcome.UNCHANGED)
    entity = standing.setdefault(
        writes.owner(event), _Standing(one.standing is None, one.standing, one.standing_event_id)
    )
    deleted = event.operation is Operation.DELETE
    offered = State(_position(event), event.final, None if deleted else dump(said).decode())
    verdict = judge(entity.state, offered)
    result = _Result(Outcome.APPLIED if new_fact else _OUTCOMES[verdict])
    if entity.state is not None and offered.position.ties_with(entity.state.position):
        result.notes.append({"step": "tie", "with": str(entity.event_id)})
    if verdict in {Verdict.WRITE, Verdict.ADVANCE}:
        entity.state, entity.event_id, entity.winner = offered, event.id, place
    return result


def _rows(
    event: StoredEvent, data: JsonValue, notes: list[dict[str, Any]], shop: Callable[[], Shop]
) -> Sequence[Row] | None:
    """Return the typed rows in an entity's data, or None where it says nothing of them; note what they lack."""
    handler = handler_for(event.entity_type)
    if handler.model is None or event.operation is Operation.DELETE:
        return []
    if event.completeness in {Completeness.DIFFERENCE, Completeness.THIN}:
        return None
    try:
        if not isinstance(data, dict):
            raise NotProjectable("the sender's data isn't an object")
        found = handler.rows_of(data, shop)
        if isinstance(found, NotedRows):
            notes.extend({"step": "note", "detail": note} for note in found.notes)
        # Of rows with the same key the last one stands.
        return list({row["key"]: row for row in ({"key": "", **row} for row in found)}.values())
    except NotProjectable as error:
        notes.append({"step": "not projected", "detail": str(error)})
        return []


def _shop(session: Executor, source_id: int) -> Shop:
    return Shop(session.execute(_SHOP, {"source_id": source_id}).scalar_one_or_none())


def _position(event: StoredEvent) -> Position:
    return Position(event.version, event.sequence, event.operation, event.fingerprint)
