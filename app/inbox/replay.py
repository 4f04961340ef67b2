"""Owns replay: an event that has ended runs again, through the same gate, under its own id."""

import uuid

from sqlalchemy import text

from app.db.pipeline import Executor
from app.errors import Rejected
from app.inbox.read import EventUnknown
from app.inbox.wake import wake
from app.models import HELD, Outcome, Status


class NotReplayable(Rejected):
    """The event is waiting or running."""


_STATE = text("SELECT status, outcome, state OR fact FROM event WHERE id = :id FOR UPDATE")
# Makes one ended event wait again, with how it ended in its history.
_REPLAY = text(f"""
UPDATE event SET status = {Status.PENDING:d}, outcome = NULL, error = NULL, attempts = 0, dispatches = 0,
    dispatched_at = NULL,
       finished_at = NULL, claim_token = NULL, due_at = now(),
       history = history || jsonb_build_array(
           jsonb_build_object('step', 'claimed', 'at', coalesce(claimed_at, received_at), 'attempt', attempts),
           jsonb_build_object('step', 'finished', 'at', finished_at, 'outcome', CAST(:was AS text), 'error', error),
           jsonb_build_object('step', 'replayed', 'at', clock_timestamp()))
WHERE id = :id
""")


def replay(session: Executor, event_id: uuid.UUID) -> None:
    """Make an ended event wait again with all its attempts; the version gate decides anew.

    Raises:
        EventUnknown: there is none.
        NotReplayable: it is waiting or running, or it is quarantined or unmapped.
    """
    row = session.execute(_STATE, {"id": event_id}).one_or_none()
    if row is None:
        raise EventUnknown
    status, ended_as, says_something = row
    if Status(status) in {Status.PENDING, Status.PROCESSING}:
        raise NotReplayable
    outcome = Outcome(ended_as)
    if outcome in HELD:
        raise NotReplayable(f"the event is {outcome.name.lower()}: release it instead")
    if not says_something:
        raise NotReplayable("the event says nothing of its own: it was released as a duplicate, or is ignored")
    session.execute(_REPLAY, {"id": event_id, "was": outcome.name.lower()})
    wake(session)
