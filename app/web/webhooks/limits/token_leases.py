"""Owns the leases: the tokens that this process took out of shared buckets at once, to spend them without asking.

A lease is a tenth of a second of the budget, so Redis is asked at most about ten times a second for each key and
process. What all processes let in is at most one lease each above the budget.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from app.web.server import loop
from app.web.webhooks.limits.redis_buckets import SharedBuckets
from app.web.webhooks.limits.token_bucket import Bucket, Grant

_LEASE_S = 0.1
_ASK_AGAIN_S = 0.1
"""After a refusal the buckets aren't asked for so long: a flood that is refused must not become one of questions."""


class _Spent(Exception):
    """Nothing is left of a lease."""


@dataclass(slots=True)
class _Lease:
    left: int = 0
    ready_at: float = 0.0
    """When the bucket that refused should have enough."""
    closed_until: float = 0.0
    by: Bucket | None = None
    terms: object = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def spend(self, count: int, terms: object) -> Grant | None:
        """Spend what is left, or refuse as the buckets have just done.

        Raises:
            _Spent: they have to be asked.
        """
        if self.terms is not terms and self.terms != terms:
            self.left, self.closed_until = 0, 0.0
        self.terms = terms
        if self.left >= count:
            self.left -= count
            return None
        now = time.monotonic()
        if now < self.closed_until:
            return Grant(0, max(0.0, self.ready_at - now), self.by)
        raise _Spent

    def give_back(self, count: int) -> None:
        """Take back what was spent."""
        with self.lock:
            self.left += count


class Leases:
    """The leases of this process, by key. As many as there are keys: the caller bounds those."""

    def __init__(self, shared: SharedBuckets) -> None:
        self._shared = shared
        self._leases: dict[Hashable, _Lease] = {}

    def spend(
        self, key: Hashable, count: int, buckets: Callable[[], Sequence[Bucket]], terms: object = None
    ) -> Grant | None:
        """Spend ``count`` tokens of a key's lease, or of a new one; return None, or the refusal.

        A lease ends when it was taken under other terms.
        """
        lease = self._leases.get(key) or self._leases.setdefault(key, _Lease())
        # Whoever asks Redis for the next one holds the lock meanwhile.
        if lease.lock.acquire(blocking=False):
            try:
                return lease.spend(count, terms)
            except _Spent:
                pass
            finally:
                lease.lock.release()
        return loop.elsewhere(lambda: self._renew(lease, count, buckets, terms))

    def _renew(
        self, lease: _Lease, count: int, buckets: Callable[[], Sequence[Bucket]], terms: object
    ) -> Grant | None:
        with lease.lock:
            with suppress(_Spent):
                return lease.spend(count, terms)
            now = time.monotonic()
            asked = buckets()
            need = count - lease.left
            most = min(min(bucket.per_s, bucket.burst) for bucket in asked)
            grant = self._shared.take(asked, need, max(need, int(most * _LEASE_S)))
            if grant.tokens:
                lease.left += grant.tokens - count
                return None
            lease.ready_at, lease.by = now + grant.wait_s, grant.by
            lease.closed_until = now + min(grant.wait_s, _ASK_AGAIN_S)
            return grant

    def give_back(self, key: Hashable, count: int) -> None:
        """Return tokens that were spent on something that is refused after all."""
        lease = self._leases.get(key)
        if lease is not None:
            loop.elsewhere(lambda: lease.give_back(count))

    def closed(self, key: Hashable) -> Grant | None:
        """Return the refusal that a key was given a moment ago, or None."""
        lease, now = self._leases.get(key), time.monotonic()
        if lease is None or now >= lease.closed_until:
            return None
        return Grant(0, max(0.0, lease.ready_at - now), lease.by)

    def forget(self, which: Callable[[Hashable], bool]) -> None:
        """Let leases go, with what is left of them: their budgets have changed."""
        for key in [key for key in self._leases if which(key)]:
            self._leases.pop(key, None)
