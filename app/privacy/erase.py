"""Owns the SQL of erasing and of listing what is kept of a customer or a whole source; never commits.

An erased entity stays as a final tombstone without data, so that no late or replayed event brings it back. An erased
event keeps its row, key and outcome, and loses its body.
"""

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from sqlalchemy import text

from app.db.pipeline import Executor
from app.events.incoming import Operation
from app.inbox.unmapped import ENTITY_TYPE
from app.models import Base, Outcome, Owned, Status

_KEYS = "SELECT * FROM unnest(CAST(:types AS text[]), CAST(:ids AS text[])) AS k(entity_type, entity_id)"
_MINE = f"source_id = :source_id AND (entity_type, entity_id) IN ({_KEYS})"
_LEADS = text("""
SELECT entity_type, entity_id FROM lead WHERE source_id = :source_id AND lower(email) = lower(:email)
""")
_CONSENTS = ("customers_marketing_consent", "customers_email_marketing_consent", "customers_purchasing_summary")
"""Entity types of Shopify's whose id is the customer's."""
_ABOUT = text("""
SELECT entity_type, entity_id FROM entity
WHERE source_id = :source_id AND entity_type = ANY(CAST(:types AS text[])) AND entity_id = ANY(CAST(:ids AS text[]))
""")
# Leaves a final tombstone of each erased entity, also of one that has not come yet.
_TOMBSTONES = text(f"""
INSERT INTO entity AS e (source_id, entity_type, entity_id, version, version_text, sequence, operation, fingerprint,
                         final, data, event_id, applied_at)
SELECT :source_id, k.entity_type, k.entity_id, extract(epoch FROM now()), NULL, 0, 3, '\\x', true, NULL, :event_id,
       now()
FROM ({_KEYS}) k ORDER BY k.entity_type, k.entity_id
ON CONFLICT (source_id, entity_type, entity_id) DO UPDATE
SET data = NULL, version = greatest(e.version, excluded.version), version_text = NULL,
    operation = {Operation.DELETE:d},
    fingerprint = '\\x', final = true, event_id = excluded.event_id, applied_at = now()
RETURNING 1
""")
_BLANK = "payload = '{}', data_pointer = '', error = NULL"
_BLANK_EVENTS = text(f"UPDATE event SET {_BLANK} WHERE {_MINE} AND payload <> '{{}}' RETURNING id")
_BLANK_EVENT = text(f"UPDATE event SET {_BLANK} WHERE id = :event_id AND payload <> '{{}}' RETURNING id")
_DROP_UNMAPPED = text("DELETE FROM unmapped WHERE event_id = ANY(CAST(:ids AS uuid[]))")
_UNMAPPED = text("""
SELECT u.event_id, u.headers, u.body FROM unmapped u
WHERE u.source_id = :source_id AND u.event_id > :after ORDER BY u.event_id LIMIT :limit
""")
_READ_AT_ONCE = 200
_CONFLICTS = text("DELETE FROM event_conflict WHERE event_id = ANY(CAST(:ids AS uuid[]))")
_DROP_LEADS = text(f"DELETE FROM lead WHERE {_MINE} RETURNING 1")
_BLANK_ENTITY = text("UPDATE entity SET data = NULL WHERE event_id = :event_id AND data IS NOT NULL")
# Erases the bodies of a batch of a source's events; what still waits ends as expired.
_BLANK_SOME = text(f"""
UPDATE event SET payload = '{{}}', data_pointer = '', error = NULL,
       status = CASE WHEN status = {Status.PENDING:d} THEN {Status.COMPLETED:d} ELSE status END,
       outcome = CASE WHEN status = {Status.PENDING:d} THEN {Outcome.EXPIRED:d} ELSE outcome END,
       finished_at = CASE WHEN status = {Status.PENDING:d} THEN now() ELSE finished_at END
WHERE id IN (SELECT id FROM event WHERE source_id = :source_id AND received_at <= :until
    AND status <> {Status.PROCESSING:d}
             AND (payload <> '{{}}' OR status = {Status.PENDING:d}) AND id <> :event_id LIMIT :batch
                 FOR UPDATE SKIP LOCKED)
RETURNING id
""")
_LEFT = text(f"""
SELECT EXISTS (SELECT 1 FROM event WHERE source_id = :source_id AND received_at <= :until AND id <> :event_id
               AND (payload <> '{{}}' OR status < {Status.COMPLETED:d}))
""")
_DATA = text(f"""
SELECT entity_type, entity_id, data FROM entity WHERE {_MINE} AND data IS NOT NULL
AND (entity_type, entity_id) > (:after_type, :after_id) ORDER BY 1, 2 LIMIT :limit
""")
_EVENTS = text(f"""
SELECT id, type, received_at FROM event WHERE {_MINE} AND payload <> '{{}}' AND id > :after ORDER BY id LIMIT :limit
""")
_FIRST = uuid.UUID(int=0)
_OWNED = sorted(model.__tablename__ for model in Owned.__subclasses__() if issubclass(model, Base))
_TABLES = (*_OWNED, "lead", "fact", "entity")

Keys = Sequence[tuple[str, str]]


def customer_keys(session: Executor, source_id: int, subject: dict[str, Any]) -> Keys:
    """Return (entity type, id) of all that is kept under a customer's own id, orders and email."""
    customer = str(subject["customer_id"])
    gid = f"gid://shopify/Customer/{customer}"
    found = [("customer", customer), ("customer", gid), ("customer_tags", gid), ("customer_tags", customer)]
    more = session.execute(_ABOUT, {"source_id": source_id, "types": list(_CONSENTS), "ids": [customer, gid]})
    found += [(entity_type, entity_id) for entity_type, entity_id in more]
    found += [("order", order) for order in subject.get("orders") or []]
    member = text("""
SELECT entity_type, entity_id FROM entity
WHERE source_id = :source_id AND entity_type = 'segment_membership' AND entity_id LIKE :ending
""")
    values = {"source_id": source_id, "ending": f"%/{_like(gid)}"}
    found += [(entity_type, entity_id) for entity_type, entity_id in session.execute(member, values)]
    if subject.get("email"):
        values = {"source_id": source_id, "email": subject["email"]}
        found += [(entity_type, entity_id) for entity_type, entity_id in session.execute(_LEADS, values)]
    found += [(ENTITY_TYPE, str(event_id)) for event_id in _unmapped_about(session, source_id, subject)]
    return sorted(set(found))


def _unmapped_about(session: Executor, source_id: int, subject: dict[str, Any]) -> Iterator[uuid.UUID]:
    """Yield the unmapped events whose body or headers name a customer, by id, order or e-mail address."""
    customer = str(subject["customer_id"])
    words = [re.escape(word) for word in (customer, *map(str, subject.get("orders") or []))]
    if subject.get("email"):
        email = subject["email"]
        words += [re.escape(form) for form in (email, quote(email, safe=""), json.dumps(email)[1:-1])]
    named = re.compile(rf"(?<![0-9a-z])(?:{'|'.join(words)})(?![0-9a-z])", re.IGNORECASE)
    after = _FIRST
    while found := session.execute(_UNMAPPED, {"source_id": source_id, "after": after, "limit": _READ_AT_ONCE}).all():
        for event_id, headers, body in found:
            after = event_id
            said = [bytes(body).decode("utf-8", "replace"), *headers.values()]
            if any(named.search(one) for one in said):
                yield event_id


def listed(session: Executor, source_id: int, keys: Keys) -> dict[str, Any]:
    """Return what is kept of these entities: their data as canonical JSON text, and the events that brought it."""
    return {"entities": entities_of(session, source_id, keys), "events": events_of(session, source_id, keys)}


def entities_of(
    session: Executor, source_id: int, keys: Keys, *, after: Sequence[str] | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return the entities that still have data, by type and id: at most ``limit``, those after a (type, id)."""
    after_type, after_id = after or ("", "")
    values = {**_values(source_id, keys), "after_type": after_type, "after_id": after_id, "limit": limit}
    found = session.execute(_DATA, values)
    return [{"type": entity_type, "id": entity_id, "data": data} for entity_type, entity_id, data in found]


def events_of(
    session: Executor, source_id: int, keys: Keys, *, after: uuid.UUID | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return the events that still have a body, the oldest first: at most ``limit``, those after an id."""
    values = {**_values(source_id, keys), "after": after or _FIRST, "limit": limit}
    found = session.execute(_EVENTS, values)
    return [{"id": str(event_id), "type": type_, "received_at": at} for event_id, type_, at in found]


def entities(session: Executor, source_id: int, event_id: object, keys: Keys) -> dict[str, int]:
    """Erase entities, their typed rows, leads and events; return how many of each."""
    values = {**_values(source_id, keys), "event_id": event_id}
    blanked = [event_id for (event_id,) in session.execute(_BLANK_EVENTS, values)]
    session.execute(_CONFLICTS, {"ids": [str(one) for one in blanked]})
    session.execute(_DROP_UNMAPPED, {"ids": [entity_id for kind, entity_id in keys if kind == ENTITY_TYPE]})
    typed = sum(
        len(session.execute(text(f"DELETE FROM {table} WHERE {_MINE} RETURNING 1"), values).all())  # noqa: S608  # ours
        for table in _OWNED
    )
    return {
        "events": len(blanked),
        "typed_rows": typed,
        "leads": len(session.execute(_DROP_LEADS, values).all()),
        "entities": len(session.execute(_TOMBSTONES, values).all()),
    }


def some_of_source(session: Executor, source_id: int, event_id: object, until: object, batch: int) -> dict[str, int]:
    """Erase a batch of what a source sent until a time: events first, then rows; return how many of each."""
    values = {"source_id": source_id, "event_id": event_id, "until": until, "batch": batch}
    blanked = [event_id for (event_id,) in session.execute(_BLANK_SOME, values)]
    session.execute(_CONFLICTS, {"ids": [str(one) for one in blanked]})
    session.execute(_DROP_UNMAPPED, {"ids": [str(one) for one in blanked]})
    if blanked:
        return {"events": len(blanked)}
    gone = {}
    for table in _TABLES:
        statement = f"""
DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE source_id = :source_id LIMIT :batch))
RETURNING 1
"""  # noqa: S608  # ours
        if rows := len(session.execute(text(statement), values).all()):
            gone[table] = rows
    return gone


def is_left(session: Executor, source_id: int, event_id: object, until: object) -> bool:
    """Tell whether an event of the time before is still to be erased, as one that a worker has just now."""
    found = session.execute(_LEFT, {"source_id": source_id, "event_id": event_id, "until": until})
    return bool(found.scalar_one())


def request_itself(session: Executor, event_id: object) -> None:
    """Erase the body of the request's own event, which names the customer."""
    session.execute(_BLANK_EVENT, {"event_id": event_id})
    session.execute(_BLANK_ENTITY, {"event_id": event_id})


def _values(source_id: int, keys: Keys) -> dict[str, Any]:
    return {"source_id": source_id, "types": [key[0] for key in keys], "ids": [key[1] for key in keys]}


def _like(literal: str) -> str:
    return literal.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
