"""Owns release: a quarantined event, whose version lies in the future, may be applied after all. A person decides."""

import uuid

from sqlalchemy import text

from app.bare import Executor
from app.errors import Rejected
from app.inbox.read import EventUnknown
from app.inbox.wake import wake


class NotQuarantined(Rejected):
    """Only a quarantined event can be released."""


_IS_THERE = text("SELECT 1 FROM event WHERE id = :id")
# Who released it, and what its version was, stays in the history: the row's own version may be another from now on.
_RELEASE = text("""
UPDATE event SET status = 0, outcome = NULL, error = NULL, finished_at = NULL, dispatched_at = NULL, dispatches = 0,
       attempts = 0, due_at = now(),
       version = CASE WHEN :trusted THEN version ELSE extract(epoch FROM received_at) END,
       version_text = CASE WHEN :trusted THEN version_text END,
       history = history || jsonb_build_array(jsonb_build_object(
           'step', 'released', 'at', clock_timestamp(), 'by', CAST(:by AS text), 'trusted', :trusted,
           'version', coalesce(version_text, CAST(version AS text))))
WHERE id = :id AND CAST(status AS int) = 3 AND outcome = 8
""")


def release(session: Executor, event_id: uuid.UUID, *, by: str, trust_version: bool = False) -> None:
    """Let a quarantined event be applied, as of its arrival, or of its own version where that is trusted.

    A trusted version blocks its entity until that time: nothing older is applied any more.

    Raises:
        EventUnknown: there is none.
        NotQuarantined: it isn't quarantined.
    """
    released: int = session.execute(_RELEASE, {"id": event_id, "by": by, "trusted": trust_version}).rowcount  # type: ignore[union-attr]  # an UPDATE's has one
    if released:
        wake(session)
        return
    if session.execute(_IS_THERE, {"id": event_id}).one_or_none() is None:
        raise EventUnknown
    raise NotQuarantined
