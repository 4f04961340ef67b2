"""SQL of the table ``unmapped``: what arrived of events that could not be read."""

from collections.abc import Sequence

from sqlalchemy import text

from app.db.pipeline import Executor
from app.db.recordset import packed
from app.inbox.prepare import NewEvent

_KEEP = text("""
INSERT INTO unmapped (event_id, source_id, headers, body, digest)
SELECT event_id, source_id, headers, body, digest FROM json_to_recordset(CAST(:rows AS json))
    AS x(event_id uuid, source_id int, headers jsonb, body bytea, digest bytea)
""")


def keep(session: Executor, events: Sequence[NewEvent]) -> None:
    """Keep what arrived of those events that were not mapped; costs nothing where all were."""
    rows = [
        {
            "event_id": event.id,
            "source_id": event.source_id,
            "headers": event.raw.headers,
            "body": event.raw.body,
            "digest": event.raw.digest,
        }
        for event in events
        if event.raw is not None
    ]
    if rows:
        session.execute(_KEEP, {"rows": packed(rows)})
