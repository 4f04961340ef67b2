"""Owns putting events into a running system's inbox without its door: thousands a second, stored as the door does."""

import secrets
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from time import time

from sqlalchemy import Engine, text

from app.db.engine import transaction
from app.db.pipeline import Executor, pipelined_transaction
from app.events.incoming import Clock, Incoming, JsonObject, Operation, Version
from app.inbox.prepare import prepare
from app.inbox.store import store
from app.models import Lane, Source, Status
from app.priority import Decision
from app.security.vault import Vault
from app.sources import configured
from bench.harness.target import Target, new_secret

_GROUP = 500
_PRIORITY = 5
_SKEW_S = 300.0


@dataclass(slots=True)
class Injector:
    """Stores events of sources of its own, in lanes that it chooses."""

    engine: Engine
    vault: Vault
    sources: list[Source] = field(default_factory=list)

    def add_source(self, role: str) -> Source:
        """Add a source and return its row."""
        name = f"{role}-{secrets.token_hex(3)}"
        with transaction(self.engine) as session:
            source = configured.add(session, self.vault, name, "standard", new_secret("standard"), {})
            session.flush()
            session.refresh(source)
        self.sources.append(source)
        return source

    def put(self, source: Source, events: Sequence[Incoming], lane: Lane, *, wait: bool = False) -> list[uuid.UUID]:
        """Store events in a lane and return their ids; ``wait`` leaves them to the dispatcher even in an open lane."""
        ids: list[uuid.UUID] = []
        for start in range(0, len(events), _GROUP):
            group = [
                prepare(
                    event,
                    Decision(lane, _PRIORITY, ("a measurement",)),
                    source_id=source.id,
                    revision=source.revision,
                    received_at=time(),
                    skew_s=_SKEW_S,
                )
                for event in events[start : start + _GROUP]
            ]
            with pipelined_transaction(self.engine) as session:
                stored = store(session, group)
                if wait or any(event.publish for event in stored):
                    # Nobody publishes here: the dispatcher does, as for every event behind a window.
                    session.execute(_UNPUBLISHED, {"ids": [str(event.id) for event in stored]})
                session.execute(_WAKE)
            ids += [event.id for event in stored]
        return ids


_UNPUBLISHED = text("UPDATE event SET dispatched_at = NULL WHERE id = ANY(CAST(:ids AS uuid[]))")
_WAKE = text("NOTIFY tiercel_dispatch")


def copies(session: Executor, event_id: uuid.UUID, count: int) -> None:
    """Let an event wait ``count`` times more, each about an entity of its own: a backlog of a million in a minute."""
    session.execute(_COPY, {"id": event_id, "count": count})


# The ids of RFC 9562 begin with the time; gen_random_uuid() would spread the inserts over the whole index.
_COPY = text("""
INSERT INTO event (id, source_id, external_id, type, entity_type, entity_id, operation, version, fingerprint, state,
                   fact, payload, data_pointer, lane, priority, received_at)
SELECT CAST(lpad(to_hex(number), 12, '0') || substr(CAST(gen_random_uuid() AS text), 14) AS uuid), source_id,
       external_id, type, entity_type, entity_id || '/' || number, operation, version, fingerprint, state, fact,
       payload, data_pointer, lane, priority, received_at
FROM event CROSS JOIN generate_series(1, CAST(:count AS int)) AS number WHERE id = :id
""")


@contextmanager
def injector(target: Target) -> Iterator[Injector]:
    """Yield an injector; its sources are removed at the end, and what still waits of them is deleted."""
    made = Injector(target.engine, target.vault)
    try:
        yield made
    finally:
        with transaction(target.engine) as session:
            for source in made.sources:
                configured.remove(session, source.name)
                session.execute(_END, {"source_id": source.id})


_END = text(f"DELETE FROM event WHERE source_id = :source_id AND status = {Status.PENDING:d}")


def made(event_type: str, entity_id: str, version: int, **data: object) -> Incoming:
    """Return an event in normal form."""
    body: JsonObject = {"id": entity_id, "amount": "19.90", "currency": "EUR", **data}
    return Incoming(
        source="bench",
        external_id=f"bench_{secrets.token_hex(8)}",
        type=event_type,
        entity_type=event_type.partition(".")[0],
        entity_id=entity_id,
        operation=Operation.UPDATE,
        version=Version(Decimal(version), str(version), Clock.COUNTER),
        payload={"type": event_type, "data": body},
        data_pointer="/data",
    )


def many(count: int, event_type: str, prefix: str, **data: object) -> list[Incoming]:
    """Return events about as many entities."""
    first = made(event_type, prefix, 1, **data)
    return [
        replace(first, external_id=f"{first.external_id}-{number}", entity_id=f"{prefix}/{number}")
        for number in range(count)
    ]
