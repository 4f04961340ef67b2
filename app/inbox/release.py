"""Release: a quarantined or unmapped event may be applied after all. A person decides."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import Rejected
from app.inbox.mapper import Mapper
from app.inbox.prepare import SOURCE_DISABLED
from app.inbox.read import EventFilter, EventUnknown
from app.inbox.remap import StillUnmapped, keep_unmapped, map_again
from app.inbox.replays import as_json, where
from app.inbox.wake import wake
from app.models import HELD, Outcome, Status


class NotHeld(Rejected):
    """Only a quarantined or an unmapped event can be released."""


@dataclass(frozen=True, slots=True)
class Released:
    """What became, or would become, of an event."""

    id: uuid.UUID
    was: Outcome
    becomes: str
    """``pending``, an outcome, or ``unmapped`` where it still can't be read."""
    type: str
    detail: str = ""
    events: tuple[uuid.UUID, ...] = ()
    """Those that it became, where they are several."""


_FIND = text("SELECT e.outcome, e.status, e.source_id, e.type, e.error FROM event e WHERE e.id = :id FOR UPDATE")
# Who released it, and what its version was, stays in the history: the row's own version may be another from now on.
# The version of one that was only held since its source was disabled is as good as any.
_RELEASE = text(f"""
UPDATE event SET status = {Status.PENDING:d}, outcome = NULL, error = NULL, finished_at = NULL, dispatched_at = NULL,
       dispatches = 0, attempts = 0, due_at = greatest(now(), effective_at),
       version = CASE WHEN t.trusted THEN version ELSE extract(epoch FROM received_at) END,
       version_text = CASE WHEN t.trusted THEN version_text END,
       history = history || jsonb_build_array(jsonb_build_object(
           'step', 'released', 'at', clock_timestamp(), 'by', CAST(:by AS text), 'trusted', t.trusted,
           'version', coalesce(version_text, CAST(version AS text))))
FROM (SELECT :trust OR (error = :disabled AND version <= extract(epoch FROM received_at) + :skew_s) AS trusted
      FROM event WHERE id = :id) t
WHERE id = :id
""")
# Finds the held events that match a filter, in order of arrival.
_HELD = f"""
SELECT e.id FROM event e
WHERE e.status = {Status.FAILED:d} AND e.outcome IN ({", ".join(str(int(one)) for one in sorted(HELD))}) AND {{where}}
  AND (CAST(:reason AS text) IS NULL OR position(lower(:reason) IN lower(coalesce(e.error, ''))) > 0)
  AND e.id > :after
ORDER BY e.id LIMIT :limit
"""
_NONE = uuid.UUID(int=0)


def held(
    session: Session, wanted: EventFilter, reason: str | None, *, after: uuid.UUID | None = None, limit: int
) -> Sequence[uuid.UUID]:
    """Return the ids of held events that match, in the order of their arrival, those after an id.

    Raises:
        FieldInvalid: the filter names nothing, so it would mean everything.
    """
    given = as_json(wanted)
    values = {**given, "reason": reason, "after": after or _NONE, "limit": limit}
    return list(session.scalars(text(_HELD.format(where=where(given))), values))


def release(
    session: Session,
    event_id: uuid.UUID,
    mapper_of: Callable[[int], Mapper],
    *,
    by: str,
    skew_s: float,
    trust_version: bool = False,
    dry_run: bool = False,
) -> Released:
    """Let a held event be applied. ``skew_s``: how far ahead of its arrival a version may lie, in seconds.

    A quarantined one goes as of its arrival, or of its own version where that is trusted: a trusted version in the
    future blocks its entity until that time. An unmapped one is mapped again with what ``mapper_of`` returns for its
    source, and stays unmapped where it still can't be read.

    Raises:
        EventUnknown: there is none.
        NotHeld: it is neither quarantined nor unmapped.
    """
    row = session.execute(_FIND, {"id": event_id}).one_or_none()
    if row is None:
        raise EventUnknown
    outcome = None if row.outcome is None else Outcome(row.outcome)
    if row.status != Status.FAILED or outcome not in HELD or outcome is None:
        raise NotHeld
    if outcome is Outcome.UNMAPPED:
        return _unmapped(session, event_id, row.type, partial(mapper_of, row.source_id), by=by, dry_run=dry_run)
    if not dry_run:
        values = {"id": event_id, "by": by, "trust": trust_version, "disabled": SOURCE_DISABLED, "skew_s": skew_s}
        session.execute(_RELEASE, values)
        wake(session)
    return Released(event_id, outcome, Status.PENDING.name.lower(), row.type)


def _unmapped(
    session: Session, event_id: uuid.UUID, event_type: str, mapper: Callable[[], Mapper], *, by: str, dry_run: bool
) -> Released:
    try:
        with session.begin_nested() as tried:
            mapped = map_again(session, event_id, mapper(), by=by)
            if dry_run:
                tried.rollback()
    except StillUnmapped as error:
        if not dry_run:
            keep_unmapped(session, event_id, str(error), by=by)
        return Released(event_id, Outcome.UNMAPPED, Outcome.UNMAPPED.name.lower(), event_type, str(error))
    becomes = Status.PENDING.name if mapped.outcome is None else mapped.outcome.name
    released = Released(event_id, Outcome.UNMAPPED, becomes.lower(), mapped.type or event_type)
    return replace(released, events=mapped.events) if len(mapped.events) > 1 else released
