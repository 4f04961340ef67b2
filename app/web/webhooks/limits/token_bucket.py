"""Owns the token bucket: what one is, and its arithmetic in this process. The time is passed in.

``app/web/webhooks/limits/redis_buckets.py`` does the same arithmetic in Redis; a test holds the two together.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

ALMOST = 1e-6
"""Of a token: what counts as there, so that rounding refuses nobody who waited as long as he was told."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket that holds at most ``burst`` tokens and gets ``per_s`` new ones a second; an event takes one."""

    name: str
    """How the RateLimit headers call it."""
    key: str
    per_s: float
    burst: float
    reserve: float = 0.0
    """Tokens that whoever asks must leave for others."""

    def missing(self, level: float, need: float) -> float:
        """Return how many tokens are missing. Whoever needs more than the bucket can hold needs it full."""
        return min(need, self.burst - self.reserve) + self.reserve - level


@dataclass(frozen=True, slots=True)
class Grant:
    """What came of asking some buckets at once."""

    tokens: int
    """0: none gave any."""
    wait_s: float = 0.0
    by: Bucket | None = None
    """The bucket that refused for longest."""


class LocalBuckets:
    """Buckets of this process alone; each of ``processes`` has its part of the rate and of the burst."""

    def __init__(self, processes: int = 1) -> None:
        self._part = 1 / processes
        self._kept: dict[str, tuple[float, float]] = {}
        """By key: tokens, and when there were so many."""
        self._lock = threading.Lock()

    def take(self, buckets: Sequence[Bucket], need: int, want: int, now: float) -> Grant:
        """Take ``need`` to ``want`` tokens out of every bucket, or none out of any. ``now`` in seconds."""
        parts = [self._own(bucket) for bucket in buckets]
        with self._lock:
            levels = [self._level(part, now) for part in parts]
            refusals = [
                Grant(0, missing / part.per_s, bucket)
                for bucket, part, level in zip(buckets, parts, levels, strict=True)
                if (missing := part.missing(level, need)) > ALMOST
            ]
            if refusals:
                return max(refusals, key=lambda refusal: refusal.wait_s)
            spare = min(level - part.reserve for part, level in zip(parts, levels, strict=True))
            tokens = max(need, min(want, math.floor(spare + ALMOST)))
            for part, level in zip(parts, levels, strict=True):
                self._kept[part.key] = (level - tokens, now)
            return Grant(tokens)

    def _own(self, bucket: Bucket) -> Bucket:
        burst = max(1.0, bucket.burst * self._part)
        return Bucket(bucket.name, bucket.key, bucket.per_s * self._part, burst, bucket.reserve * self._part)

    def _level(self, bucket: Bucket, now: float) -> float:
        tokens, at = self._kept.get(bucket.key, (bucket.burst, now))
        return min(bucket.burst, tokens + (now - at) * bucket.per_s)
