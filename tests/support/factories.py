"""Owns short words for the tests: one source, events in normal form, what became of them."""

import base64
import secrets
import time
import uuid
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from app.db.engine import transaction
from app.events.incoming import Incoming, JsonObject, Operation, Version
from app.inbox.prepare import NewEvent, prepare
from app.inbox.store import Stored, store
from app.messaging.pointer import Pointer
from app.models import Entity, Event, Source
from app.priority import shipped
from app.security.vault import Vault
from app.sources import configured

SKEW_S = 300.0
_GROUP = 100


def whsec() -> str:
    """Return a new Standard Webhooks secret."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def incoming(
    type: str = "price.updated",  # noqa: A002  # the field's own name
    entity_id: str = "sku-1",
    version: Decimal | int | None = 1000,
    *,
    data: JsonObject | None = None,
    **changes: Any,
) -> Incoming:
    """Return an event in normal form; the operation follows from the type."""
    entity_type, _, verb = type.partition(".")
    operation = {"created": Operation.CREATE, "deleted": Operation.DELETE}.get(verb, Operation.UPDATE)
    body = {"id": entity_id, "amount": "9.99", "currency": "EUR"} if data is None else data
    made = Incoming(
        source="shop",
        external_id=f"msg_{secrets.token_hex(8)}",
        type=type,
        entity_type=entity_type,
        entity_id=entity_id,
        operation=operation,
        version=None if version is None else Version(Decimal(version), str(version)),
        payload={"type": type, "data": body},
        data_pointer="/data",
    )
    return replace(made, **changes)


@dataclass
class Inbox:
    """An inbox with one source."""

    engine: Engine
    vault: Vault
    secret: str = field(default_factory=whsec)
    source: Source = field(init=False)

    def __post_init__(self) -> None:
        with transaction(self.engine) as session:
            self.source = configured.add(session, self.vault, "shop", "standard", self.secret, {})
            session.refresh(self.source)

    def prepared(self, event: Incoming, *, received_at: float | None = None) -> NewEvent:
        """Return what store takes."""
        return prepare(
            event,
            shipped().decide(event),
            source_id=self.source.id,
            revision=self.source.revision,
            received_at=time.time() if received_at is None else received_at,
            skew_s=SKEW_S,
        )

    def store(self, *prepared: NewEvent) -> list[Stored]:
        """Store prepared events in one transaction."""
        with transaction(self.engine) as session:
            return store(session, prepared)

    def accept(self, *events: Incoming, received_at: float | None = None) -> list[Stored]:
        """Store events in one transaction, in groups as the receiver makes them."""
        prepared = [self.prepared(event, received_at=received_at) for event in events]
        groups = [prepared[start : start + _GROUP] for start in range(0, len(prepared), _GROUP)]
        with transaction(self.engine) as session:
            return [stored for group in groups for stored in store(session, group)]

    def pointer(self, event: Incoming) -> Pointer:
        """Store one new event and return its pointer."""
        return Pointer(self.accept(event)[0].id, 0)

    def event(self, event_id: uuid.UUID) -> Event:
        with Session(self.engine, expire_on_commit=False) as session:
            return session.scalars(select(Event).filter_by(id=event_id)).one()

    def entity(self, entity_id: str = "sku-1", entity_type: str = "price") -> Entity | None:
        with Session(self.engine, expire_on_commit=False) as session:
            found = select(Entity).filter_by(source_id=self.source.id, entity_type=entity_type, entity_id=entity_id)
            return session.scalars(found).one_or_none()

    def data(self, entity_id: str = "sku-1", entity_type: str = "price") -> str | None:
        """Return the entity's data; None where it is deleted. The entity must be there."""
        found = self.entity(entity_id, entity_type)
        assert found is not None
        return found.data

    def sql(self, statement: str, **values: Any) -> list[Any]:
        """Run a statement in a transaction of its own and return its rows, if it has any."""
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result) if result.returns_rows else []
