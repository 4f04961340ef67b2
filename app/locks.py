"""Owns the Redis lock per entity: it keeps two workers from fighting over one entity, and nothing more.

If a lock expires, or Redis is gone, the version gate and the claim's fence still give the right answer. So every
failure of Redis here means: go on without a lock.
"""

import secrets
import time
from dataclasses import dataclass
from enum import Enum, auto

import structlog
from redis import Redis
from redis.exceptions import RedisError
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_random

_LOG = structlog.get_logger()
_DOWN_S = 1.0
"""How long Redis is left alone after a failure, so that a frozen one costs one time-out a second."""
_POLL_S = 0.004
# Only the holder's token gives the lock back. The answer says whether somebody parked an event meanwhile: a mark that
# is set before the release is seen here, and whoever sets it later finds the lock free.
_RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end
return redis.call('del', KEYS[2])
"""


class Held(Enum):
    """What came of trying for a lock."""

    LOCKED = auto()
    WITHOUT = auto()
    """Redis doesn't answer: go on without."""
    BUSY = auto()


@dataclass(frozen=True, slots=True)
class Lock:
    """A held lock: its entity, and the token that proves it."""

    entity_key: str
    token: str


class EntityLocks:
    """Locks over entities, by name; safe to share between threads."""

    def __init__(self, url: str, *, ttl_s: float, wait_s: float) -> None:
        self._redis = Redis.from_url(
            url, socket_timeout=0.25, socket_connect_timeout=0.25, retry=None, health_check_interval=0
        )
        self._release = self._redis.register_script(_RELEASE)
        self._ttl_ms = int(ttl_s * 1000)
        self._wait_s = wait_s
        self._down_until = 0.0

    def acquire(self, entity_key: str, *, wait: bool = True) -> tuple[Held, Lock | None]:
        """Try for an entity's lock, for at most the configured wait (20 ms)."""
        if time.monotonic() < self._down_until:
            return Held.WITHOUT, None
        lock = Lock(entity_key, secrets.token_hex(8))
        try:
            taken = self._try(lock) or (wait and self._wait_for(lock))
        except RedisError as error:
            self._left_alone(error)
            return Held.WITHOUT, None
        return (Held.LOCKED, lock) if taken else (Held.BUSY, None)

    def mark_parked(self, entity_key: str) -> None:
        """Tell the holder of an entity's lock that an event waits for it."""
        try:
            self._redis.set(_parked(entity_key), 1, px=self._ttl_ms * 6)
        except RedisError as error:
            self._left_alone(error)

    def release(self, lock: Lock | None) -> bool:
        """Give a lock back, if it is still ours; tell whether events were parked meanwhile."""
        if lock is None:
            return False
        try:
            keys = [_held(lock.entity_key), _parked(lock.entity_key)]
            return bool(self._release(keys=keys, args=[lock.token]))
        except RedisError as error:
            self._left_alone(error)
            return False

    def ping(self) -> None:
        """Raise RedisError where Redis doesn't answer."""
        self._redis.ping()

    def close(self) -> None:
        """Close every connection."""
        self._redis.close()

    def _try(self, lock: Lock) -> bool:
        return bool(self._redis.set(_held(lock.entity_key), lock.token, nx=True, px=self._ttl_ms))

    def _wait_for(self, lock: Lock) -> bool:
        retrying = Retrying(
            retry=retry_if_result(lambda taken: not taken),
            stop=stop_after_delay(self._wait_s),
            wait=wait_random(0, _POLL_S),
            retry_error_callback=lambda _state: False,
        )
        return bool(retrying(self._try, lock))

    def _left_alone(self, error: RedisError) -> None:
        self._down_until = time.monotonic() + _DOWN_S
        _LOG.warning("redis doesn't answer; going on without locks", action="lock_unavailable", error=repr(error))


def _held(entity_key: str) -> str:
    return f"tiercel:entity:{entity_key}"


def _parked(entity_key: str) -> str:
    return f"tiercel:parked:{entity_key}"
