"""Owns what runs by the clock: purging what is older than its retention, in batches small enough to harm nobody."""

import time

from sqlalchemy import TextClause, text

from app.db.pipeline import ASYNC_COMMIT, pipelined_transaction
from app.models import Status
from app.resources import Resources
from config.settings import Settings

_BATCH = 500
_BATCHES = 100
"""At most this many batches of each a run: the rest waits for the next one."""
_PAUSE_S = 0.02
"""Between two batches: what ingest has the disk and a core for."""

# Completed events and failed ones go when their own time is over. With one that failed goes what it kept for a person.
_PURGE_EVENTS = text(f"""
DELETE FROM event WHERE id IN (
    SELECT id FROM event WHERE finished_at < now() - make_interval(days => :days) AND status = {Status.COMPLETED:d}
    ORDER BY finished_at LIMIT :batch FOR UPDATE SKIP LOCKED)
RETURNING id
""")
# Purges failed events and what hangs on them, a batch at a time.
_PURGE_FAILED = text(f"""
WITH gone AS (
    DELETE FROM event WHERE id IN (
        SELECT id FROM event WHERE finished_at < now() - make_interval(days => :days) AND status = {Status.FAILED:d}
        ORDER BY finished_at LIMIT :batch FOR UPDATE SKIP LOCKED)
    RETURNING id),
raw AS (DELETE FROM unmapped WHERE event_id IN (SELECT id FROM gone))
SELECT id FROM gone
""")
_PURGE_CONFLICTS = text("""
DELETE FROM event_conflict WHERE (event_id, fingerprint) IN (
    SELECT event_id, fingerprint FROM event_conflict WHERE received_at < now() - make_interval(days => :days)
    LIMIT :batch FOR UPDATE SKIP LOCKED)
RETURNING event_id
""")
# Besides its age: while any event about the entity is kept, a replay of it must find the tombstone.
_PURGE_TOMBSTONES = text("""
DELETE FROM entity WHERE (source_id, entity_type, entity_id) IN (
    SELECT source_id, entity_type, entity_id FROM entity n
    WHERE data IS NULL AND applied_at < now() - make_interval(days => :days)
      AND NOT EXISTS (SELECT 1 FROM event e WHERE (e.source_id, e.entity_type, e.entity_id) =
                      (n.source_id, n.entity_type, n.entity_id))
    ORDER BY applied_at LIMIT :batch FOR UPDATE SKIP LOCKED)
RETURNING entity_id
""")
# A key outlives its event, so that a late copy is still known as a duplicate.
_PURGE_KEYS = text("""
DELETE FROM event_key WHERE ctid IN (
    SELECT k.ctid FROM event_key k WHERE k.seen_at < now() - make_interval(days => :days)
      AND NOT EXISTS (SELECT 1 FROM event e WHERE e.id = k.event_id) LIMIT :batch)
RETURNING event_id
""")


def rules(settings: Settings) -> dict[str, tuple[TextClause, int]]:
    """Return what is purged, by which statement, after how many days."""
    return {
        "events": (_PURGE_EVENTS, settings.retention_days),
        "failed": (_PURGE_FAILED, settings.dead_days),
        "conflicts": (_PURGE_CONFLICTS, settings.dead_days),
        "tombstones": (_PURGE_TOMBSTONES, settings.tombstone_days),
        "keys": (_PURGE_KEYS, settings.dedup_days),
    }


def purge(resources: Resources) -> dict[str, int]:
    """Delete what is past its retention; return how many of each. Two at once share the work."""
    return {name: _purge(resources, *rule) for name, rule in rules(resources.settings).items()}


def _purge(resources: Resources, statement: TextClause, days: int) -> int:
    purged = 0
    for _ in range(_BATCHES):
        with pipelined_transaction(resources.engine) as session:
            # A server that crashes forgets it, and the next run does it again.
            found = session.execute(statement, {"days": days, "batch": _BATCH}, execution_options=ASYNC_COMMIT)
        purged += len(found.all())
        if len(found.all()) < _BATCH:
            break
        time.sleep(_PAUSE_S)
    return purged
