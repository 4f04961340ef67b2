"""Owns the buckets that all receivers share: in Redis, and in each process alone while Redis is away.

A request meets a Redis that is away at most once, for 0.1 s: from then on the local buckets answer, until ``probe``
(of a thread that no request waits for) finds it back.
"""

import time
from collections.abc import Sequence

import structlog
from redis import Redis
from redis.exceptions import RedisError

from app.web.webhooks.limits.token_bucket import ALMOST, Bucket, Grant, LocalBuckets

_LOG = structlog.get_logger()
_TIMEOUT_S = 0.1
# KEYS: the buckets. ARGV: need, want, then for each bucket per_s, burst, reserve. The answer: the tokens that were
# granted; where none were, the longest wait in microseconds, and the number of the bucket. A bucket that is full again
# needs no key, so each ends by itself. A clock that was put back fills a bucket, so that it can't stay empty.
_TAKE = f"""
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local need, want = tonumber(ARGV[1]), tonumber(ARGV[2])
local levels, spare, wait, by = {{}}, want, 0, 0
for i, key in ipairs(KEYS) do
    local per_s, burst, reserve = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
    local kept = redis.call('HMGET', key, 'tokens', 'at')
    local level = burst
    if kept[1] and tonumber(kept[2]) <= now then
        level = math.min(burst, kept[1] + (now - kept[2]) * per_s)
    end
    local missing = math.min(need, burst - reserve) + reserve - level
    if missing > {ALMOST} and missing / per_s > wait then wait, by = missing / per_s, i end
    levels[i], spare = level, math.min(spare, math.floor(level - reserve + {ALMOST}))
end
if by > 0 then return {{0, math.ceil(wait * 1000000), by}} end
local tokens = math.max(need, spare)
for i, key in ipairs(KEYS) do
    local per_s, burst = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
    local left = levels[i] - tokens
    redis.call('HSET', key, 'tokens', string.format('%.17g', left), 'at', string.format('%.6f', now))
    redis.call('PEXPIRE', key, math.ceil((burst - left) / per_s * 1000) + 1000)
end
return {{tokens, 0, 0}}
"""


class SharedBuckets:
    """Buckets in Redis; safe to share between threads."""

    def __init__(self, url: str, *, processes: int) -> None:
        self._redis = Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=None, health_check_interval=0
        )
        self._take = self._redis.register_script(_TAKE)
        self._local = LocalBuckets(processes)
        self.away = False

    def take(self, buckets: Sequence[Bucket], need: int, want: int) -> Grant:
        """Take ``need`` to ``want`` tokens out of every bucket, or none out of any."""
        if self.away:
            return self._local.take(buckets, need, want, time.monotonic())
        keys = [bucket.key for bucket in buckets]
        rules = [number for bucket in buckets for number in (bucket.per_s, bucket.burst, bucket.reserve)]
        try:
            tokens, wait_us, by = self._take(keys=keys, args=[need, want, *rules])
        except RedisError as error:
            self.away = True
            _LOG.warning("redis doesn't answer; limits are local", action="limits_local", error=repr(error))
            return self._local.take(buckets, need, want, time.monotonic())
        return Grant(tokens) if tokens else Grant(0, wait_us / 1_000_000, buckets[by - 1])

    def probe(self) -> None:
        """Where Redis was away, look whether it is back."""
        if not self.away:
            return
        try:
            self._redis.ping()
        except RedisError:
            return
        self.away = False
        _LOG.info("redis answers; limits are shared", action="limits_shared")

    def close(self) -> None:
        """Close every connection."""
        self._redis.close()
