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

from app.observability.process_metrics import LOCK_WAIT, LOCKS

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
_ACQUIRE_ALL = """
local taken = {}
for i, key in ipairs(KEYS) do
    taken[i] = redis.call('set', key, ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
end
return taken
"""
# The keys come in pairs: what is held, and its mark.
_RELEASE_ALL = """
local parked = {}
for i = 1, #KEYS, 2 do
    if redis.call('get', KEYS[i]) == ARGV[1] then redis.call('del', KEYS[i]) end
    parked[#parked + 1] = redis.call('del', KEYS[i + 1])
end
return parked
"""


class LockResult(Enum):
    """What came of trying for a lock."""

    LOCKED = auto()
    UNAVAILABLE = auto()
    """Redis doesn't answer: go on without."""
    BUSY = auto()


@dataclass(frozen=True, slots=True)
class Lock:
    """A held lock: its entity, and the token that proves it."""

    entity_key: str
    token: str


@dataclass(frozen=True, slots=True)
class Locks:
    """The entities of a batch that nobody else works on, and the token that proves it; none where Redis is away."""

    taken: set[str]
    token: str | None


class EntityLocks:
    """Locks over entities, by name; safe to share between threads."""

    def __init__(self, url: str, *, ttl_s: float, wait_s: float) -> None:
        self._redis = Redis.from_url(
            url, socket_timeout=0.25, socket_connect_timeout=0.25, retry=None, health_check_interval=0
        )
        self._release = self._redis.register_script(_RELEASE)
        self._acquire_all = self._redis.register_script(_ACQUIRE_ALL)
        self._release_all = self._redis.register_script(_RELEASE_ALL)
        self._ttl_ms = int(ttl_s * 1000)
        self._wait_s = wait_s
        self._down_until = 0.0

    def acquire(self, entity_key: str, *, wait: bool = True) -> tuple[LockResult, Lock | None]:
        """Try for an entity's lock, for at most the configured wait (20 ms)."""
        if time.monotonic() < self._down_until:
            return LockResult.UNAVAILABLE, None
        lock, began = Lock(entity_key, secrets.token_hex(8)), time.monotonic()
        try:
            taken = self._try(lock) or (wait and self._wait_for(lock))
        except RedisError as error:
            self._left_alone(error)
            return LockResult.UNAVAILABLE, None
        LOCK_WAIT.observe(time.monotonic() - began)
        LOCKS.add("locked" if taken else "busy")
        return (LockResult.LOCKED, lock) if taken else (LockResult.BUSY, None)

    def acquire_all(self, entity_keys: set[str]) -> Locks:
        """Try once for the locks of several entities, in one round trip; those of busy ones aren't among the taken."""
        without = Locks(entity_keys, None)
        if time.monotonic() < self._down_until:
            return without
        token, ordered = secrets.token_hex(8), sorted(entity_keys)
        try:
            taken = self._acquire_all(keys=[_held(key) for key in ordered], args=[token, self._ttl_ms])
        except RedisError as error:
            self._left_alone(error)
            return without
        LOCKS.add("locked", count=sum(taken))
        LOCKS.add("busy", count=len(taken) - sum(taken))
        return Locks({key for key, got in zip(ordered, taken, strict=True) if got}, token)

    def release_all(self, locks: Locks) -> set[str]:
        """Give locks back, where they are still ours; return the entities for which events were parked meanwhile."""
        if locks.token is None or not locks.taken:
            return set()
        ordered = sorted(locks.taken)
        try:
            keys = [name for key in ordered for name in (_held(key), _parked(key))]
            parked = self._release_all(keys=keys, args=[locks.token])
        except RedisError as error:
            self._left_alone(error)
            return set()
        return {key for key, marked in zip(ordered, parked, strict=True) if marked}

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
        LOCKS.add("failed")
        self._down_until = time.monotonic() + _DOWN_S
        _LOG.warning("redis doesn't answer; going on without locks", action="lock_unavailable", error=repr(error))


def _held(entity_key: str) -> str:
    return f"tiercel:entity:{entity_key}"


def _parked(entity_key: str) -> str:
    return f"tiercel:parked:{entity_key}"
