"""Owns what the run's events became, as the database has it, and what of it the door had said."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Engine, func, select

from app.db.engine import transaction
from app.models import Event, Lane, Outcome, Source, Status
from bench.demo.sending import Sent

_ENDED = (Status.COMPLETED, Status.FAILED)


@dataclass(frozen=True, slots=True)
class Ended:
    """One event's row."""

    status: Status
    outcome: Outcome | None
    lane: Lane
    fact: bool
    arrived_at: Decimal
    """What counts for the version where the sender gives none."""
    latency_ms: float | None
    """From acceptance to the commit of its outcome."""


@dataclass(frozen=True, slots=True)
class Doorbook:
    """What the door answered, sorted out."""

    accepted: dict[str, Sent]
    """By event id: those answered 202 or, after a try that got no answer, DUPLICATE."""
    duplicates: dict[str, int]
    """By event id, how many copies were recognised."""
    conflicts: int
    refused: Counter[tuple[int, str, str]]
    """(status, our title, what was wrong with it) -> how many."""
    unanswered: list[Sent]
    tried_again: int


def source_ids(engine: Engine, names: Iterable[str]) -> list[int]:
    """Return the ids of sources by name."""
    with transaction(engine) as session:
        return list(session.scalars(select(Source.id).where(Source.name.in_(list(names)))))


def ended_count(engine: Engine, sources: Sequence[int]) -> int:
    """Return how many events of these sources have ended."""
    ended = select(func.count()).select_from(Event).where(Event.source_id.in_(sources), Event.status.in_(_ENDED))
    with transaction(engine) as session:
        return session.scalars(ended).one()


def ended(engine: Engine, sources: Sequence[int]) -> dict[str, Ended]:
    """Return every event of these sources by its id."""
    took_ms = func.extract("epoch", Event.finished_at - Event.received_at) * 1000
    wanted = select(Event.id, Event.status, Event.outcome, Event.lane, Event.fact, Event.version, took_ms)
    with transaction(engine) as session:
        rows = session.execute(wanted.where(Event.source_id.in_(sources)))
        return {
            str(event_id): Ended(status, outcome, lane, fact, version, None if took is None else float(took))
            for event_id, status, outcome, lane, fact, version, took in rows
        }


def doorbook(sent: Iterable[Sent]) -> Doorbook:
    """Sort out what the door answered."""
    book = Doorbook({}, {}, 0, Counter(), [], 0)
    conflicts = tried_again = 0
    for one in sorted(sent, key=lambda one: one.answer.sent_at if one.answer else 0.0):
        tried_again += one.tries - 1
        answer = one.answer
        if answer is None:
            book.unanswered.append(one)
            continue
        state = answer.headers.get("x-event-status")
        if answer.status == 202 or (state == "DUPLICATE" and (one.tries > 1 or answer.resent)):  # noqa: PLR2004
            book.accepted.setdefault(answer.json()["id"], one)
        elif state == "DUPLICATE":
            first = answer.json()["id"]
            book.duplicates[first] = book.duplicates.get(first, 0) + 1
        elif state == "CONFLICT":
            conflicts += 1
        else:
            flaw = one.message.flaw.text if one.message.flaw else f"nothing ({one.message.fate.value})"
            book.refused[answer.status, answer.title, flaw] += 1
    return Doorbook(book.accepted, book.duplicates, conflicts, book.refused, book.unanswered, tried_again)
