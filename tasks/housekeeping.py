"""Owns what runs by the clock: purging what is older than its retention, in batches small enough to harm nobody."""

from sqlalchemy import text

from app.bare import work
from app.resources import Resources

_BATCH = 1000
_BATCHES = 50
"""At most this many batches a run: the rest waits for the next one."""

# Failed events are kept until a person has decided; completed ones go when their time is over.
_PURGE_EVENTS = text("""
DELETE FROM event WHERE id IN (
    SELECT id FROM event WHERE finished_at < now() - make_interval(days => :days) AND status = 2
    ORDER BY finished_at LIMIT :batch FOR UPDATE SKIP LOCKED)
RETURNING id
""")
# A key outlives its event, so that a late copy is still known as a duplicate.
_PURGE_KEYS = text("""
DELETE FROM event_key WHERE ctid IN (
    SELECT k.ctid FROM event_key k WHERE k.seen_at < now() - make_interval(days => :days)
      AND NOT EXISTS (SELECT 1 FROM event e WHERE e.id = k.event_id) LIMIT :batch)
RETURNING event_id
""")


def purge(resources: Resources) -> dict[str, int]:
    """Delete completed events and deduplication keys past their retention; return how many of each."""
    settings = resources.settings
    dedup_days = max(settings.dedup_days, settings.retention_days)
    purged = {"events": 0, "keys": 0}
    for name, statement, days in (
        ("events", _PURGE_EVENTS, settings.retention_days),
        ("keys", _PURGE_KEYS, dedup_days),
    ):
        for _ in range(_BATCHES):
            with work(resources.engine) as session:
                gone = len(session.execute(statement, {"days": days, "batch": _BATCH}).all())
            purged[name] += gone
            if gone < _BATCH:
                break
    return purged
