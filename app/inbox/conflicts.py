"""Owns conflicts: another content under a known key. The first one stands until a person decides."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.errors import Rejected
from app.events.incoming import Incoming, Version
from app.inbox.normalform import read_normal_form
from app.inbox.prepare import NewEvent, prepare
from app.inbox.store import Stored, StoreResult, store
from app.inbox.wake import wake
from app.models import Event, EventConflict, Resolution, Source

_JUST_ABOVE = Decimal("0.001")
"""What a person's decision adds to a sender's sequence, so that the second one follows the first."""

_TAKEN = text("""
UPDATE event SET dispatched_at = NULL, history = history || jsonb_build_array(jsonb_build_object(
    'step', 'taken from a conflict', 'at', clock_timestamp(), 'by', CAST(:by AS text), 'with', CAST(:first AS text)))
WHERE id = :id
""")


class ConflictUnknown(Rejected):
    """No conflict of this event waits for a decision."""


class ConflictUnresolvable(Rejected):
    """This conflict can't be resolved that way."""


def open_conflicts(session: Session, limit: int) -> Sequence[tuple[EventConflict, Event | None, str | None]]:
    """Return the conflicts that wait for a person, the newest first, with the first one's event and its source."""
    statement = (
        select(EventConflict, Event, Source.name)
        .outerjoin(Event, Event.id == EventConflict.event_id)
        .outerjoin(Source, Source.id == Event.source_id)
        .where(EventConflict.resolution.is_(None))
        .order_by(EventConflict.received_at.desc(), EventConflict.event_id, EventConflict.fingerprint)
        .limit(limit)
    )
    return [(conflict, event, name) for conflict, event, name in session.execute(statement)]


def keep_first(session: Session, event_id: uuid.UUID, fingerprint: str, *, by: str) -> None:
    """Decide that the first one stands.

    Raises:
        ConflictUnknown, ConflictUnresolvable: there is none, or several and no fingerprint says which.
    """
    _resolve(_find(session, event_id, fingerprint), Resolution.FIRST, by)


def take_second(session: Session, event_id: uuid.UUID, fingerprint: str, *, by: str, skew_s: float) -> Stored:
    """Decide that the second one was meant: it becomes an event of its own, newer than the first where they tie.

    It goes through the version gate like any other, so it undoes nothing that came later.

    Raises:
        ConflictUnknown, ConflictUnresolvable: there is none, several, or it can't become an event any more.
    """
    conflict = _find(session, event_id, fingerprint)
    if conflict.normal is None:
        raise ConflictUnresolvable("a release before this one kept it without its normal form; ask the sender again")
    first = session.get(Event, event_id)
    if first is None:
        raise ConflictUnresolvable("the first one's row is purged; ask the sender to send the second again")
    source = session.get_one(Source, first.source_id)
    incoming, decision = read_normal_form(conflict.normal, conflict.payload, source.name)
    named = replace(incoming, external_id=f"{first.external_id}#{conflict.fingerprint.hex()[:16]}", content_key=None)
    if named.version is not None and named.version.order == first.version:
        sequence = named.sequence or Decimal(0)
        named = replace(named, sequence=sequence if sequence > first.sequence else first.sequence + _JUST_ABOVE)
    arrived_at = conflict.received_at.timestamp()

    def prepared(one: Incoming) -> NewEvent:
        known = {"source_id": source.id, "revision": source.revision, "received_at": arrived_at}
        return prepare(one, decision, **known, skew_s=skew_s)  # type: ignore[arg-type]  # each is of its own type

    event = prepared(named)
    if event.held is not None:
        event = prepared(replace(named, version=Version(Decimal(str(arrived_at)), conflict.received_at.isoformat())))
    (stored,) = store(session, [event])
    if stored.kept is not StoreResult.NEW:
        raise ConflictUnresolvable("its source is disabled or removed, or it was taken before")
    # Nobody publishes it from here.
    session.execute(_TAKEN, {"id": stored.id, "by": by, "first": str(event_id)})
    wake(session)
    _resolve(conflict, Resolution.SECOND, by)
    return stored


def _find(session: Session, event_id: uuid.UUID, fingerprint: str) -> EventConflict:
    statement = select(EventConflict).filter_by(event_id=event_id, resolution=None).with_for_update()
    found = [one for one in session.scalars(statement) if one.fingerprint.hex().startswith(fingerprint.lower())]
    if not found:
        raise ConflictUnknown
    if len(found) > 1:
        shown = ", ".join(sorted(one.fingerprint.hex()[:16] for one in found))
        raise ConflictUnresolvable(f"several wait, say which by its fingerprint: {shown}")
    return found[0]


def _resolve(conflict: EventConflict, resolution: Resolution, by: str) -> None:
    conflict.resolution, conflict.resolved_at, conflict.resolved_by = resolution, func.clock_timestamp(), by
