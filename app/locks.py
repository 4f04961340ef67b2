"""Owns the Redis lock per entity: it keeps two workers from fighting over one entity, and nothing more.

If a lock expires, or Redis is gone, the version gate and the claim's fence still give the right answer. So every
failure of Redis here means: go on without a lock.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

import structlog
from redis import Redis
from redis.exceptions import LockError, RedisError
from redis.lock import Lock

_LOG = structlog.get_logger()
_DOWN_S = 1.0
"""How long Redis is left alone after a failure, so that a frozen one costs one time-out a second."""
_POLL_S = 0.002


class Held(Enum):
    """What came of trying for a lock."""

    LOCKED = auto()
    WITHOUT = auto()
    """Redis doesn't answer: go on without."""
    BUSY = auto()


class EntityLocks:
    """Locks over entities, by name; safe to share between threads."""

    def __init__(self, url: str, *, ttl_s: float, wait_s: float) -> None:
        self._redis = Redis.from_url(
            url, socket_timeout=0.25, socket_connect_timeout=0.25, retry=None, health_check_interval=0
        )
        self._ttl_s = ttl_s
        self._wait_s = wait_s
        self._down_until = 0.0

    def acquire(self, entity_key: str, *, wait: bool = True) -> tuple[Held, Lock | None]:
        """Try for an entity's lock, for at most the configured wait (20 ms)."""
        if time.monotonic() < self._down_until:
            return Held.WITHOUT, None
        lock = self._redis.lock(f"tiercel:entity:{entity_key}", timeout=self._ttl_s, sleep=_POLL_S, thread_local=False)
        try:
            taken = lock.acquire(blocking=wait, blocking_timeout=self._wait_s if wait else None)
        except RedisError as error:
            self._left_alone(error)
            return Held.WITHOUT, None
        return (Held.LOCKED, lock) if taken else (Held.BUSY, None)

    def release(self, lock: Lock | None) -> None:
        """Give a lock back; one that expired or was lost with Redis is nobody's to give."""
        if lock is None:
            return
        try:
            lock.release()
        except LockError:
            _LOG.info("a lock had expired before its release", action="lock_expired")
        except RedisError as error:
            self._left_alone(error)

    @contextmanager
    def holding(self, entity_key: str) -> Iterator[Held]:
        """Hold an entity's lock where it can be had, and say which it was."""
        held, lock = self.acquire(entity_key)
        try:
            yield held
        finally:
            self.release(lock)

    def ping(self) -> None:
        """Raise RedisError where Redis doesn't answer."""
        self._redis.ping()

    def close(self) -> None:
        """Close every connection."""
        self._redis.close()

    def _left_alone(self, error: RedisError) -> None:
        self._down_until = time.monotonic() + _DOWN_S
        _LOG.warning("redis doesn't answer; going on without locks", action="lock_unavailable", error=repr(error))
