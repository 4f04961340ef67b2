"""Owns what the receiver asks: may this source's verified event in, may this address fail once more.

A thread of its own looks at the pressure, writes down what was refused and finds Redis again; a request does none of
that. Refused here means: nothing of the event is kept.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from sqlalchemy import Engine

from app.db.pipeline import pipelined_transaction
from app.errors import TiercelError
from app.inbox import shed
from app.inbox.read import LaneLiveness
from app.models import Lane
from app.observability.periodic import PeriodicThread
from app.observability.process_metrics import COMMIT
from app.sources.configured import Endpoint
from app.web.webhooks.limits import client_address, memory, pressure
from app.web.webhooks.limits.redis_buckets import SharedBuckets
from app.web.webhooks.limits.refusals import (
    AbnormalUsageDetected,
    QuotaExceeded,
    RateLimited,
    TemporaryReducedCapacity,
)
from app.web.webhooks.limits.token_bucket import Bucket, LocalBuckets
from app.web.webhooks.limits.token_leases import Leases
from config.settings import Settings

_LOG = structlog.get_logger()
_EVERY_S = 1.0
_RESERVES = {Lane.HIGH: 0.0, Lane.MEDIUM: 0.1, Lane.LOW: 0.2}
"""Of a source's burst: what a lane leaves for the more urgent ones, so that a flood of low refuses no high."""
_LEAST_PER_S = 1 / 60
"""However small a budget becomes: one a minute, so that Retry-After has an end."""
_ALL_BURST_S = 20.0
_COMMIT_WEIGHT = 0.2


class DoorLimits:
    """The limits of one receiver process; safe to share between threads."""

    def __init__(self, settings: Settings, engine: Engine, lanes: Callable[[], Mapping[Lane, LaneLiveness]]) -> None:
        self._settings = settings
        self._engine = engine
        self._lanes = lanes
        self._shared = SharedBuckets(settings.redis_url, processes=settings.web_processes)
        self._leases = Leases(self._shared)
        self._proxies = client_address.networks(settings.trusted_proxies)
        self._address_rule = settings.address_failures_per_s, float(settings.address_failures_burst)
        per_s = settings.failures_per_s
        self._all_failures = [Bucket("all-failures", "all", per_s, per_s * _ALL_BURST_S)]
        self._own = LocalBuckets()
        self._thresholds = pressure.Thresholds.of(settings)
        self._level = 0.0
        self._factors = dict.fromkeys(Lane, 1.0)
        self._commit_s = 0.0
        self._committed = False
        self._refused: Counter[Lane] = Counter()
        self._unverified = 0
        self._lock = threading.Lock()
        self._thread = PeriodicThread("limits", _EVERY_S, self.tick)
        self._thread.start()

    def admit(self, endpoint: Endpoint, lane: Lane, count: int = 1) -> None:
        """Let ``count`` verified events of a source in, or none of them.

        Raises:
            QuotaExceeded, TemporaryReducedCapacity: the source's budget for this lane is spent.
        """
        refusal = self._leases.spend((endpoint.id, lane), count, lambda: self._budget(endpoint, lane), endpoint.limit)
        if refusal is not None:
            with self._lock:
                self._refused[lane] += count
            reduced = refusal.by is not None and refusal.by.name == lane.name.lower()
            kind = TemporaryReducedCapacity if reduced else QuotaExceeded
            raise kind(refusal, self._budget(endpoint, lane), retries_429=endpoint.kind.retries_429)

    def admit_all(self, endpoint: Endpoint, lanes: Mapping[Lane, int]) -> None:
        """Let a batch in, so many events of each lane, or nothing of it. Raises what ``admit`` raises."""
        spent: list[Lane] = []
        for lane, count in lanes.items():
            try:
                self.admit(endpoint, lane, count)
            except RateLimited:
                for before in spent:
                    self._leases.give_back((endpoint.id, before), lanes[before])
                with self._lock:
                    self._refused.update({other: n for other, n in lanes.items() if other is not lane})
                raise
            spent.append(lane)

    def charge_failure(self, environ: Mapping[str, Any]) -> None:
        """Count a request that can't be verified, before anything dear is done about it.

        Raises:
            AbnormalUsageDetected: too many of this address, or of all together.
        """
        slot = client_address.slot(client_address.client(environ, self._proxies))
        asked = [Bucket("address", f"tiercel:failures:{slot}", *self._address_rule)]
        refusal = self._leases.spend(slot, 1, lambda: asked)
        if refusal is None:
            # What an address isn't let in with counts for nobody else.
            asked = self._all_failures
            grant = self._own.take(asked, 1, 1, time.monotonic())
            refusal = None if grant.tokens else grant
        if refusal is not None:
            with self._lock:
                self._unverified += 1
            raise AbnormalUsageDetected(refusal, asked)

    def check_address(self, environ: Mapping[str, Any]) -> None:
        """Refuse an address that was refused a moment ago, where to look at its request would cost a query.

        Raises:
            AbnormalUsageDetected: it was.
        """
        slot = client_address.slot(client_address.client(environ, self._proxies))
        refusal = self._leases.closed(slot)
        if refusal is not None:
            raise AbnormalUsageDetected(refusal, [refusal.by] if refusal.by else [])

    def committed(self, seconds: float) -> None:
        """Note how long a group commit took.

        Beyond full pressure the time says nothing more: so a single commit that hung for long is no pressure yet.
        """
        COMMIT.observe(seconds)
        seen = min(seconds, self._thresholds.commit_s * pressure.FULL)
        self._commit_s += _COMMIT_WEIGHT * (seen - self._commit_s)
        self._committed = True

    def tick(self, seconds: float) -> None:
        """Look at the pressure, write down what was refused, and find Redis again."""
        self._shared.probe()
        if not self._committed:
            self._commit_s /= 2  # where nothing is let in, nothing would ever say that it is fast again
        self._committed = False
        self._press(seconds)
        self._write_down()

    def close(self) -> None:
        """End the thread, write down what was refused, close every connection."""
        self._thread.stop()
        self._write_down()
        self._shared.close()

    def _budget(self, endpoint: Endpoint, lane: Lane) -> list[Bucket]:
        limit = endpoint.limit
        per_s = self._settings.source_events_per_s if limit is None else limit.per_s
        burst = float(self._settings.source_burst if limit is None else limit.burst)
        key = f"tiercel:budget:{{{endpoint.id}}}"
        budget = [Bucket("source", key, per_s, burst, burst * _RESERVES[lane])]
        left = self._factors[lane]
        if left < 1:
            name = lane.name.lower()
            budget.append(Bucket(name, f"{key}:{name}", max(_LEAST_PER_S, per_s * left), max(1.0, burst * left)))
        return budget

    def _press(self, seconds: float) -> None:
        ages = {lane: pulse.oldest_due_age_s for lane, pulse in self._lanes().items()}
        due = {lane: age for lane, age in ages.items() if age is not None}
        seen = pressure.Signals(self._commit_s, memory.used(), due)
        target = self._thresholds.target(seen)
        self._level = pressure.step(self._level, target, seconds)
        factors = {lane: pressure.factor(lane, self._level) for lane in Lane}
        changed = {lane for lane in Lane if factors[lane] != self._factors[lane]}
        if {lane for lane in Lane if factors[lane] < 1} != {lane for lane in Lane if self._factors[lane] < 1}:
            less = [lane.name.lower() for lane in Lane if factors[lane] < 1]
            _LOG.warning("other budgets are reduced", action="pressure", lanes=less, target=target, seen=str(seen))
        self._factors = factors
        if changed:
            self._leases.forget(lambda key: isinstance(key, tuple) and key[1] in changed)

    def _write_down(self) -> None:
        with self._lock:
            refused, self._refused = self._refused, Counter()
            unverified, self._unverified = self._unverified, 0
        if unverified:
            _LOG.warning("unverified requests were refused", action="failures_refused", count=unverified)
        if not refused:
            return
        try:
            with pipelined_transaction(self._engine) as session:
                shed.add(session, refused)
        except TiercelError as error:
            with self._lock:
                self._refused.update(refused)
            _LOG.warning("what was refused isn't written down yet", action="shed_unwritten", error=repr(error))
        else:
            by_lane = {lane.name.lower(): count for lane, count in refused.items()}
            _LOG.warning("events were refused", action="events_shed", **by_lane)
