"""The entity lock: polite while Redis is there, out of the way when it isn't."""

import threading
from collections.abc import Iterator

import pytest
import redis

from app.coordination.entity_locks import EntityLocks, Lock, LockResult
from config.settings import Settings


@pytest.fixture
def locks(settings: Settings) -> Iterator[EntityLocks]:
    made = EntityLocks(settings.redis_url, ttl_s=10, wait_s=0.02)
    made._redis.flushdb()
    yield made
    made.close()


def test_a_held_entity_is_busy_until_it_is_released(locks: EntityLocks) -> None:
    held, lock = locks.acquire("1/price/a")
    assert held is LockResult.LOCKED
    assert locks.acquire("1/price/a") == (LockResult.BUSY, None)
    assert locks.acquire("1/price/a", wait=False) == (LockResult.BUSY, None)
    assert locks.acquire("1/price/b")[0] is LockResult.LOCKED
    locks.release(lock)
    assert locks.acquire("1/price/a")[0] is LockResult.LOCKED


def test_a_short_holder_is_waited_for(settings: Settings, locks: EntityLocks) -> None:
    patient = EntityLocks(settings.redis_url, ttl_s=10, wait_s=5)
    _, lock = locks.acquire("1/price/a")
    taken: list[LockResult] = []
    waiter = threading.Thread(target=lambda: taken.append(patient.acquire("1/price/a")[0]))
    waiter.start()
    locks.release(lock)
    waiter.join()
    patient.close()
    assert taken == [LockResult.LOCKED]


def test_a_lock_that_expired_is_not_released_for_its_next_holder(locks: EntityLocks) -> None:
    _, lock = locks.acquire("1/price/a")
    locks._redis.delete("tiercel:entity:1/price/a")
    _, next_lock = locks.acquire("1/price/a")
    locks.release(lock)
    assert locks.acquire("1/price/a") == (LockResult.BUSY, None)
    locks.release(next_lock)


def test_without_redis_work_goes_on_and_redis_is_left_alone_for_a_while() -> None:
    gone = EntityLocks("redis://127.0.0.1:1/0", ttl_s=10, wait_s=0.02)
    assert gone.acquire("1/price/a") == (LockResult.UNAVAILABLE, None)
    assert gone.acquire("1/price/a") == (LockResult.UNAVAILABLE, None)
    with pytest.raises(redis.exceptions.ConnectionError):
        gone.ping()


def test_a_holder_is_told_once_that_events_were_parked(locks: EntityLocks) -> None:
    _, lock = locks.acquire("1/price/a")
    locks.mark_parked("1/price/a")
    assert locks.release(lock)
    _, lock = locks.acquire("1/price/a")
    assert not locks.release(lock)


def test_what_redis_does_not_hear_is_no_error() -> None:
    gone = EntityLocks("redis://127.0.0.1:1/0", ttl_s=10, wait_s=0.02)
    gone.mark_parked("1/price/a")
    assert not gone.release(Lock("1/price/a", "token"))
    assert not gone.release(None)
    gone.close()
