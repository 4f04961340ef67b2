"""Owns the receiver's verbs: verify, normalise, prioritise, store, publish, for one request, without Flask."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from flask import current_app
from sqlalchemy import Engine

from app.db.engine import make_engine
from app.db.pipeline import autocommit, pipelined_transaction
from app.errors import FieldInvalid, SecretMissing, SignatureInvalid, SourceNotReady, Unavailable
from app.events.incoming import Incoming
from app.inbox.mapper import Mapper
from app.inbox.prepare import NewEvent
from app.inbox.store import EntangledKeys, Stored, StoreResult, store
from app.messaging.pointer import Dispatch, Pointer
from app.observability import tracing
from app.observability.process_metrics import RECEIVED
from app.reporting.prometheus import Exposition
from app.resources import Resources
from app.security.vault import Vault
from app.sources.configured import Endpoint
from app.sources.kinds import Request
from app.web.server import loop
from app.web.webhooks.db_watchdog import Watchdog
from app.web.webhooks.group_commit import GroupCommit
from app.web.webhooks.limits.admission import DoorLimits
from app.web.webhooks.outbox import Outbox
from app.web.webhooks.source_cache import EndpointCache
from app.web.webhooks.vendor_keys import KeyRing

_FEW = 10
"""Events of a request that are stored with those of single ones; 50 take PostgreSQL some 10 ms."""
Fails = Callable[[], None]
"""Counts a failure of whoever makes a request; raises where they are too many."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one request."""

    stored: tuple[Stored, ...]
    """In the order of the request."""
    batch: bool
    """Whether the request was one of several events, be it with one in it."""


def receiver() -> "Receiver":
    """Return this process's receiver."""
    found: Receiver = current_app.extensions["receiver"]
    return found


class Receiver:
    """Takes one request's bytes to a committed row and hands its pointer over for publishing."""

    def __init__(self, resources: Resources, vault: Vault) -> None:
        self.resources = resources
        self.vault = vault
        timeout_s = resources.settings.store_timeout_s
        self.endpoints = EndpointCache(resources.engine, vault, timeout_s=timeout_s)
        self.keyring = KeyRing(resources.settings.adobe_keys_url, wait_s=timeout_s)
        self._watchdog = Watchdog()
        # A connection each, so that no reader in the API holds up a commit, and none goes with another's.
        url = resources.settings.database_url
        self._engines = [make_engine(url, pool_size=1, reconnects=False) for _ in range(2)]
        self.exposition = Exposition(resources.engine)
        self.limits = DoorLimits(resources.settings, resources.engine, self.endpoints.lanes)
        self._outbox = Outbox(resources.publisher, resources.engine)
        self._singles, self._batches = (
            GroupCommit(partial(self._store_group, engine), self._outbox.send, timeout_s=timeout_s)
            for engine in self._engines
        )

    def endpoint(self, name: str, fails: Fails) -> Endpoint:
        """Return the endpoint of a name.

        Raises:
            SourceUnknown, SourceDisabled, SourceLeft: there is none, or it is switched off, as of now.
            Unavailable: it isn't known, and the database doesn't answer.
            AbnormalUsageDetected: this caller has failed too often to be looked up again.
        """
        known = self.endpoints.known(name)
        if known is not None:
            return known
        fails()
        return self.endpoints.fresh(name)

    def accept(self, endpoint: Endpoint, request: Request, fails: Fails) -> Receipt:
        """Verify, map, prioritise and store one request; a batch's events all or none.

        Raises:
            Rejected: it isn't verified, or too large; nothing of the request is kept.
            Transient: it can't be known to be kept, or verified now; the sender is to try again.
        """
        try:
            events, batch = self._prepare(endpoint, request)
        except SignatureInvalid:
            fails()
            # The secret may have been rotated a moment ago.
            endpoint = self.endpoints.fresh(endpoint.name)
            events, batch = self._prepare(endpoint, request)
        if batch:
            self.limits.admit_all(endpoint, Counter(event.decision.lane for event in events))
        else:
            self.limits.admit(endpoint, events[0].decision.lane)
        stored = self._store(events) if events else ()
        if any(one.kept is StoreResult.SOURCE_CHANGED for one in stored):
            events, batch = self._prepare(self.endpoints.fresh(endpoint.name), request)
            stored = self._store(events)
        if any(one.kept is StoreResult.SOURCE_CHANGED for one in stored):
            raise Unavailable("the source is being changed")
        return Receipt(tuple(stored), batch)

    def unpublished(self) -> int:
        """Return how many pointers wait to be published."""
        return len(self._outbox)

    def take(self, endpoint: Endpoint, incoming: Incoming, received_at: float) -> Stored:
        """Prioritise and store one event that needs no verifying: whoever sent it has shown a key.

        Raises:
            Rejected: it is refused, by name. Unavailable: it can't be known to be kept.
        """
        event = self._mapper(endpoint, ()).prepared(incoming, received_at)
        if event.schedule.notes:
            raise FieldInvalid(event.schedule.notes[0])
        self.limits.admit(endpoint, event.decision.lane)
        (stored,) = self._store([event])
        if stored.kept is StoreResult.SOURCE_CHANGED:
            fresh = self.endpoints.fresh(endpoint.name)
            (stored,) = self._store([replace(event, source_id=fresh.id, revision=fresh.revision)])
        if stored.kept is StoreResult.SOURCE_CHANGED:
            raise Unavailable("the source is being changed")
        return stored

    def close(self) -> None:
        """Finish what is under way and close every connection."""
        self._singles.close()
        self._batches.close()
        self._watchdog.close()
        for engine in self._engines:
            engine.dispose()
        self.limits.close()
        self._outbox.close()
        self.endpoints.close()
        self.keyring.close()
        self.resources.close()

    @tracing.stepped("prepare")
    def _prepare(self, endpoint: Endpoint, request: Request) -> tuple[list[NewEvent], bool]:
        """Verify a request and return its events, and whether it was a request of several.

        Once it is verified nothing in it is refused but its size: what can't be read is stored as unmapped.
        """
        secrets = endpoint.valid_secrets(datetime.fromtimestamp(request.received_at, UTC))
        self._verify(endpoint, request, secrets)
        return self._mapper(endpoint, secrets).events(request)

    def _mapper(self, endpoint: Endpoint, secrets: Sequence[str]) -> Mapper:
        policies, kind = self.endpoints.policies, endpoint.kind.name
        return Mapper(
            source=endpoint.name,
            source_id=endpoint.id,
            revision=endpoint.revision,
            kind=endpoint.kind,
            config=endpoint.config,
            secrets=secrets,
            decide=lambda incoming, at: policies.decide(incoming, kind=kind, at=at),
            skew_s=self.resources.settings.version_skew_s,
            disabled=not endpoint.enabled,
            trace=tracing.carried(),
        )

    def _verify(self, endpoint: Endpoint, request: Request, secrets: Sequence[str]) -> None:
        paths = endpoint.kind.key_paths(request)
        keys = self.keyring.get(paths) if paths else None
        if keys:
            request = replace(request, public_keys=keys.found)
        try:
            endpoint.kind.verify(request, secrets, endpoint.config)
        except SecretMissing:
            if endpoint.kind.drops_on_4xx:
                raise SourceNotReady from None
            raise
        except SignatureInvalid:
            if keys and not keys.complete:
                raise Unavailable("the key that the event is signed with can't be fetched now") from None
            raise

    def _store(self, events: Sequence[NewEvent]) -> Sequence[Stored]:
        """Store a request's events with those of others in flight; a large batch's commit holds up no small one."""
        if len(events) <= _FEW:
            return self._singles.store(events)
        return loop.elsewhere(lambda: self._batches.store(events))

    def _store_group(self, engine: Engine, events: Sequence[NewEvent], until: float) -> list[Stored]:
        began = time.monotonic()
        try:
            stored = self._store_together(engine, events, until)
        except EntangledKeys:
            stored = self._store_singly(engine, events, until)
        finally:
            self.limits.committed(time.monotonic() - began)
        for asked, event in zip(events, stored, strict=True):
            RECEIVED.add(asked.incoming.source, _result(asked, event))
            if event.publish:
                self._outbox.put(Dispatch(Pointer(event.id, 0), event.lane, event.priority, asked.trace))
        return stored

    def _store_together(self, engine: Engine, events: Sequence[NewEvent], until: float) -> list[Stored]:
        # With one key each, an event's key and row come in one statement, which needs no BEGIN and COMMIT around it.
        opened = (
            autocommit
            if all(len(event.keys) == 1 and event.raw is None for event in events)
            else pipelined_transaction
        )
        with opened(engine) as session, self._watchdog.watching(session.fileno(), until):
            stored = store(session, events)
            session.commit()
        return stored

    def _store_singly(self, engine: Engine, events: Sequence[NewEvent], until: float) -> list[Stored]:
        """Store events one by one, in one transaction all the same: a batch among them stays all or nothing."""
        with pipelined_transaction(engine) as session, self._watchdog.watching(session.fileno(), until):
            stored = [store(session, [event])[0] for event in events]
            if len({one.kept is StoreResult.SOURCE_CHANGED for one in stored}) > 1:
                raise Unavailable("a source is being changed")
            session.commit()
        return stored


def _result(asked: NewEvent, stored: Stored) -> str:
    """Return what the store made of an event, as the metric names it."""
    if stored.kept is StoreResult.NEW and asked.raw is not None:
        return "unmapped"
    return stored.kept.value.lower()
