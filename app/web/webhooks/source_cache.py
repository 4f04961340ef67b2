"""Owns the receiver's view of the database: the sources, the priority policy, and who serves the lanes.

The sources are at most a second old, and read anew before anything is refused.
A source that was just added, or a secret that was just rotated, counts at once: whoever is about to answer 404 or 401
asks for a view that is younger than the request. One thread reads, so a flood of bad requests costs the database a
small query every 50 ms at the most. While the database is away, known sources go on.
"""

import threading
import time
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Engine

from app.db.engine import transaction
from app.db.pipeline import autocommit
from app.errors import SourceDisabled, SourceLeft, SourceUnknown, TiercelError, Unavailable
from app.inbox import read
from app.inbox.read import LaneLiveness
from app.models import Lane
from app.priority.stored.live import LivePolicies
from app.security.vault import Vault
from app.sources import configured
from app.sources.configured import Endpoint
from app.web.server import loop

_LOG = structlog.get_logger()
_EVERY_S = 1.0
_AT_MOST_EVERY_S = 0.05
_OVERLAP = timedelta(seconds=10)
"""A change's time is set before its commit: look this far back."""


class EndpointCache:
    """The endpoints by name, kept fresh by a thread of its own."""

    def __init__(self, engine: Engine, vault: Vault, *, timeout_s: float) -> None:
        self._engine = engine
        self._vault = vault
        self._timeout_s = timeout_s
        self._by_name: dict[str, Endpoint] = {}
        self._lanes: dict[Lane, LaneLiveness] = {}
        self._seen = datetime.fromtimestamp(0, UTC) + _OVERLAP
        self._taken: frozenset[tuple[int, datetime]] = frozenset()
        """The changes that were found by the last look back."""
        self._read_at = float("-inf")
        """Monotonic time at which the newest finished reading began."""
        self._wanted = False
        self._changed = threading.Condition()
        self._closed = False
        self.policies = LivePolicies()
        self._policies_read_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="endpoint-cache", daemon=True)
        self._thread.start()

    def known(self, name: str) -> Endpoint | None:
        """Return the endpoint of this name, or None where there was none that takes events a second ago."""
        endpoint = self._by_name.get(name)
        return endpoint if endpoint is not None and endpoint.takes_events else None

    def lanes(self) -> dict[Lane, LaneLiveness]:
        """Return the lanes as they were when last read; empty before the first time."""
        return self._lanes

    def refresh(self) -> dict[Lane, LaneLiveness]:
        """Read anew and return the lanes.

        Raises:
            Unavailable: the database doesn't answer in time.
        """
        loop.elsewhere(self._refresh)
        return self._lanes

    def _refresh(self) -> None:
        asked_at = time.monotonic()
        with self._changed:
            self._wanted = True
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._read_at >= asked_at, self._timeout_s):
                raise Unavailable("the sources can't be read")

    def fresh(self, name: str) -> Endpoint:
        """Return the endpoint as it is now, read after this call began.

        Raises:
            SourceUnknown, SourceDisabled, SourceLeft: there is none, or it is switched off.
            Unavailable: the database doesn't answer.
        """
        self.refresh()
        endpoint = self._by_name.get(name)
        if endpoint is None:
            raise SourceUnknown
        if not endpoint.takes_events:
            raise SourceLeft if endpoint.left else SourceDisabled
        return endpoint

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._closed:
            began = time.monotonic()
            try:
                self._read()
            except TiercelError as error:
                _LOG.warning("the sources can't be read", action="sources_unread", error=repr(error))
            else:
                with self._changed:
                    self._read_at = began
                    self._changed.notify_all()
            self._keep_counts()
            with self._changed:
                self._changed.wait_for(lambda: self._closed, _AT_MOST_EVERY_S)
                self._changed.wait_for(lambda: self._closed or self._wanted, _EVERY_S - _AT_MOST_EVERY_S)
                self._wanted = False

    def _read(self) -> None:
        # Once a second is enough for policies, however often a flood of bad requests has the sources read.
        began = time.monotonic()
        policies_due = began - self._policies_read_at >= _EVERY_S - _AT_MOST_EVERY_S
        since = self._seen - _OVERLAP
        with autocommit(self._engine) as bare:
            lanes = read.liveness(bare)
            if policies_due:
                # Before the sources: an event of a source that is known is decided by the policy live with it.
                self.policies.read(bare)
            changes = configured.changes_since(bare, since)
        if not changes <= self._taken:
            with transaction(self._engine) as session:
                live, gone, self._seen = configured.changed_since(session, self._vault, since)
            known = {**self._by_name, **{endpoint.name: endpoint for endpoint in live}}
            self._by_name = {name: endpoint for name, endpoint in known.items() if name not in gone}
            self._taken = changes
        self._lanes = lanes
        if policies_due:
            self._policies_read_at = began

    def _keep_counts(self) -> None:
        if not self.policies.has_counts():
            return
        try:
            with transaction(self._engine) as session:
                self.policies.keep_counts(session)
        except TiercelError as error:
            _LOG.warning("a shadow's counts can't be kept", action="shadow_unkept", error=repr(error))
        else:
            self.policies.counts_are_kept()
