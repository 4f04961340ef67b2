"""Owns the receiver's verbs: verify, normalise, prioritise, store, publish, for one request, without Flask."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from app.bare import statement, work
from app.db import make_engine
from app.endpoints import Endpoint
from app.errors import SignatureInvalid, Unavailable
from app.inbox.store import Kept, NewEvent, Stored, prepare, store
from app.pointers import Dispatch, Pointer
from app.resources import Resources
from app.sources import Request
from app.vault import Vault
from app.web.endpointcache import EndpointCache
from app.web.groupcommit import GroupCommit
from app.web.limits.door import DoorLimits
from app.web.outbox import Outbox
from app.web.watchdog import Watchdog

Fails = Callable[[], None]
"""Counts a failure of whoever makes a request; raises where they are too many."""


class Receiver:
    """Takes one request's bytes to a committed row and hands its pointer over for publishing."""

    def __init__(self, resources: Resources, vault: Vault) -> None:
        self.resources = resources
        self.vault = vault
        timeout_s = resources.settings.store_timeout_s
        self.endpoints = EndpointCache(resources.engine, vault, timeout_s=timeout_s)
        self._watchdog = Watchdog()
        # Of its own, so that no reader at the desk holds up a commit.
        self._engine = make_engine(resources.settings.database_url, pool_size=1)
        self.limits = DoorLimits(resources.settings, resources.engine, self.endpoints.lanes)
        self._outbox = Outbox(resources.publisher, resources.engine)
        self._commits = GroupCommit(self._store_group, timeout_s=timeout_s)

    def endpoint(self, name: str, fails: Fails) -> Endpoint:
        """Return the endpoint of a name.

        Raises:
            SourceUnknown, SourceDisabled: there is none, or it is switched off, as of now.
            Unavailable: it isn't known, and the database doesn't answer.
            AbnormalUsageDetected: this caller has failed too often to be looked up again.
        """
        known = self.endpoints.known(name)
        if known is not None:
            return known
        fails()
        return self.endpoints.fresh(name)

    def accept(self, endpoint: Endpoint, request: Request, fails: Fails) -> Stored:
        """Verify, normalise, prioritise and store one request.

        Raises:
            Rejected: the sender's fault, by name; nothing of the request is kept.
            Unavailable: it can't be known to be kept; the sender is to try again.
        """
        try:
            event = self._prepare(endpoint, request)
        except SignatureInvalid:
            fails()
            # The secret may have been rotated a moment ago.
            endpoint = self.endpoints.fresh(endpoint.name)
            event = self._prepare(endpoint, request)
        self.limits.admit(endpoint, event.decision.lane)
        (stored,) = self._commits.store([event])
        if stored.kept is Kept.SOURCE_CHANGED:
            (stored,) = self._commits.store([self._prepare(self.endpoints.fresh(endpoint.name), request)])
        if stored.kept is Kept.SOURCE_CHANGED:
            raise Unavailable("the source is being changed")
        return stored

    def close(self) -> None:
        """Finish what is under way and close every connection."""
        self._commits.close()
        self._watchdog.close()
        self._engine.dispose()
        self.limits.close()
        self._outbox.close()
        self.endpoints.close()
        self.resources.close()

    def _prepare(self, endpoint: Endpoint, request: Request) -> NewEvent:
        secrets = endpoint.valid_secrets(datetime.fromtimestamp(request.received_at, UTC))
        endpoint.kind.verify(request, secrets, endpoint.config)
        incoming = endpoint.kind.normalise(request, secrets, endpoint.config, endpoint.name)
        return prepare(
            incoming,
            self.endpoints.policies.decide(incoming, kind=endpoint.kind.name, at=request.received_at),
            source_id=endpoint.id,
            revision=endpoint.revision,
            received_at=request.received_at,
            skew_s=self.resources.settings.version_skew_s,
        )

    def _store_group(self, events: Sequence[NewEvent], until: float) -> list[Stored]:
        # With one key each, an event's key and row come in one statement, which needs no BEGIN and COMMIT around it.
        opened = statement if all(len(event.keys) == 1 for event in events) else work
        began = time.monotonic()
        try:
            with opened(self._engine) as session, self._watchdog.watching(session.fileno(), until):
                stored = store(session, events)
                session.commit()
        finally:
            self.limits.committed(time.monotonic() - began)
        for event in stored:
            if event.publish:
                self._outbox.put(Dispatch(Pointer(event.id, 0), event.lane, event.priority))
        return stored
