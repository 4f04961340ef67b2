"""Owns re-prioritising: what already waits gets another lane. Never commits: the caller opens each transaction.

Through the dispatch generation: a moved event has a new one, so pointers of before do nothing, and it is dispatched
anew from its new lane. An event that a worker has claimed is left to it.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, text
from sqlalchemy.orm import Session
from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_fixed

from app.errors import FieldInvalid, Rejected
from app.inbox.read import EventUnknown
from app.inbox.wake import wake
from app.models import Event, Lane, Source, Status

_FIRST, _BATCH = 100, 1_000
"""The first batch is small: it runs while the others are being moved."""
_LOOK = 20_000
"""Events looked for at once: a look through a backlog costs more than a batch of it."""
_LOCKED_TRIES, _LOCKED_WAIT_S = 40, 0.05
"""Rows that a worker or the dispatcher has locked: they are free, or no longer wait, within milliseconds."""

Transactions = Callable[[], AbstractContextManager[Session]]


class NotWaiting(Rejected):
    """The event is running or has ended."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which waiting events; None doesn't filter, all that is given must hold."""

    ids: tuple[uuid.UUID, ...] | None = None
    source: str | None = None
    type: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    campaign: str | None = None
    """The sender's id of it."""
    lane: Lane | None = None
    """The lane that they are in."""
    since: datetime | None = None
    until: datetime | None = None

    def check(self) -> None:
        """Refuse a filter that would take everything.

        Raises:
            FieldInvalid: nothing is given.
        """
        if all(value is None for value in asdict(self).values()):
            raise FieldInvalid("the filter is empty: it would take everything that waits")


@dataclass(frozen=True, slots=True)
class Move:
    """Where to, who says so, and why."""

    lane: Lane
    by: str
    why: str | None = None
    priority: int | None = None
    """In-queue priority, 0 to 9; None keeps each event's own."""


# Moves waiting events to another lane or priority; a new generation makes their pointers void.
_MOVE = text(f"""
UPDATE event SET lane = :lane, priority = coalesce(:priority, priority), generation = generation + 1,
       dispatched_at = NULL, dispatches = 0, parked_at = NULL,
       history = history || jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
           'step', 'reprioritised', 'at', clock_timestamp(), 'by', CAST(:by AS text), 'why', CAST(:why AS text),
           'from', (ARRAY['high', 'medium', 'low'])[lane + 1], 'to', CAST(:to AS text),
           'priority', CAST(:priority AS int))))
WHERE id IN (SELECT id FROM event
             WHERE id = ANY(CAST(:ids AS uuid[])) AND CAST(status AS int) = {Status.PENDING:d}
               AND (lane <> :lane OR priority <> coalesce(:priority, priority))
             FOR UPDATE SKIP LOCKED)
RETURNING id
""")
_LOCK = text("SELECT status FROM event WHERE id = :id FOR UPDATE")


def reprioritise(session: Session, event_id: uuid.UUID, move: Move) -> bool:
    """Move one waiting event; tell whether it wasn't there already.

    Raises:
        EventUnknown: there is none.
        NotWaiting: it is running or has ended.
    """
    status = session.execute(_LOCK, {"id": event_id}).scalar_one_or_none()
    if status is None:
        raise EventUnknown
    if Status(status) is not Status.PENDING:
        raise NotWaiting
    return bool(_moved(session, [event_id], move))


def matching(session: Session, wanted: Selection, move: Move) -> dict[Lane, int]:
    """Return how many waiting events would move, by the lane that they are in.

    Raises:
        FieldInvalid: the filter is empty.
    """
    found = session.execute(_select(wanted, move, Event.lane, func.count()).group_by(Event.lane).order_by(Event.lane))
    return {lane: count for lane, count in found}  # noqa: C416  # of rows


def reprioritise_all(transaction: Transactions, wanted: Selection, move: Move, most: int) -> Iterator[int]:
    """Move the waiting events that match, ``most`` at the most; yield after each batch how many have moved.

    Each batch is a transaction of its own and wakes the dispatcher: the first events run while the last ones are still
    being moved, and whoever stops half-way has moved whole events.

    Raises:
        FieldInvalid: the filter is empty.
    """
    wanted.check()
    moved = 0
    while moved < most:
        before = moved
        for ids in _batches(transaction, wanted, move, most - moved):
            moved += _move_batch(transaction, ids, move)
            yield moved
        if moved == before:
            return


def _batches(transaction: Transactions, wanted: Selection, move: Move, most: int) -> Iterator[list[uuid.UUID]]:
    with transaction() as session:
        urgent_first = (Event.lane, Event.priority.desc(), Event.due_at)
        found = _select(wanted, move, Event.id).order_by(*urgent_first).limit(min(_LOOK, most))
        ids = list(session.scalars(found))
    yield from ([ids[:_FIRST]] if ids else [])
    yield from (ids[start : start + _BATCH] for start in range(_FIRST, len(ids), _BATCH))


def _move_batch(transaction: Transactions, ids: list[uuid.UUID], move: Move) -> int:
    """Move a batch; come back to what was locked by others until it is free or no longer waits."""
    left, count = ids, 0

    def once() -> list[uuid.UUID]:
        nonlocal left, count
        with transaction() as session:
            moved = _moved(session, left, move)
            count += len(moved)
            left = [event_id for event_id in left if event_id not in moved]
            return list(session.scalars(_select(Selection(ids=tuple(left)), move, Event.id))) if left else []

    # What no longer waits isn't found again; only what is locked makes another try.
    Retrying(
        retry=retry_if_result(bool),
        stop=stop_after_attempt(_LOCKED_TRIES),
        wait=wait_fixed(_LOCKED_WAIT_S),
        retry_error_callback=lambda _state: None,
    )(once)
    return count


def _moved(session: Session, ids: Sequence[uuid.UUID], move: Move) -> set[uuid.UUID]:
    values = {
        "ids": [str(event_id) for event_id in ids],
        "lane": int(move.lane),
        "to": move.lane.name.lower(),
        "priority": move.priority,
        "by": move.by,
        "why": move.why,
    }
    moved = set(session.scalars(_MOVE, values))
    if moved:
        wake(session)
    return moved


def _select(wanted: Selection, move: Move, *columns: Any) -> Select[Any]:
    wanted.check()
    elsewhere: ColumnElement[bool] = Event.lane != move.lane
    if move.priority is not None:
        elsewhere = or_(elsewhere, Event.priority != move.priority)
    # The status as a literal: else a partial index over it can't be chosen.
    statement = select(*columns).where(text(f"event.status = {Status.PENDING:d}"), elsewhere)
    if wanted.ids is not None:
        statement = statement.where(Event.id.in_(wanted.ids))
    if wanted.source is not None:
        named = select(Source.id).where(Source.name == wanted.source).scalar_subquery()
        statement = statement.where(Event.source_id == named)
    if wanted.campaign is not None:
        statement = statement.where(and_(Event.campaign.is_not(None), Event.campaign == wanted.campaign))
    for column, value in (
        (Event.lane, wanted.lane),
        (Event.type, wanted.type),
        (Event.entity_type, wanted.entity_type),
        (Event.entity_id, wanted.entity_id),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if wanted.since is not None:
        statement = statement.where(Event.received_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(Event.received_at < wanted.until)
    return statement
