"""Budgets in Redis: the same arithmetic as in one process, shared by all, and local while Redis is away."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis

from app.web.webhooks.limits.redis_buckets import SharedBuckets
from app.web.webhooks.limits.token_bucket import Bucket, Grant, LocalBuckets
from app.web.webhooks.limits.token_leases import Leases
from config.settings import Settings
from tests.support.freezing import frozen
from tests.support.waiting import wait_until


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    found = Redis.from_url(settings.redis_url)
    found.flushdb()
    yield found
    found.flushdb()
    found.close()


@pytest.fixture
def shared(settings: Settings, redis: Redis) -> Iterator[SharedBuckets]:
    made = SharedBuckets(settings.redis_url, processes=2)
    yield made
    made.close()


buckets = st.builds(
    Bucket,
    name=st.just("b"),
    key=st.sampled_from(["a", "b"]),
    # So slow that no token comes while the example runs.
    per_s=st.floats(1e-7, 1e-6),
    burst=st.integers(1, 100).map(float),
    reserve=st.floats(0, 0.5),
)


@hypothesis_settings(max_examples=60)
@given(st.lists(st.tuples(st.lists(buckets, min_size=1, max_size=2, unique_by=lambda b: b.key),
                          st.integers(1, 20), st.integers(1, 50)), min_size=1, max_size=12))  # fmt: skip
def test_redis_and_one_process_give_the_same_grants(
    shared: SharedBuckets, redis: Redis, asked: list[tuple[list[Bucket], int, int]]
) -> None:
    redis.flushdb()
    local = LocalBuckets()
    for wanted, need, want in asked:
        one, other = shared.take(wanted, need, max(need, want)), local.take(wanted, need, max(need, want), 0.0)
        assert (one.tokens, one.by) == (other.tokens, other.by)
        assert one.wait_s == pytest.approx(other.wait_s, rel=1e-3)


def test_tokens_come_back_with_time_and_a_full_bucket_needs_no_key(shared: SharedBuckets, redis: Redis) -> None:
    bucket = Bucket("b", "k", 20.0, 2.0)
    assert shared.take([bucket], 2, 2).tokens == 2
    refusal = shared.take([bucket], 1, 1)
    assert 0 < refusal.wait_s <= 0.05
    assert 1000 < redis.pttl("k") <= 1100
    wait_until(lambda: shared.take([bucket], 1, 1).tokens == 1)
    wait_until(lambda: not redis.exists("k"))


def test_a_clock_that_was_put_back_shuts_nobody_out(shared: SharedBuckets, redis: Redis) -> None:
    redis.hset("k", mapping={"tokens": "0", "at": str(time.time() + 3600)})
    assert shared.take([Bucket("b", "k", 0.01, 5.0)], 5, 5).tokens == 5


def test_all_processes_together_pass_the_budget_by_their_leases_at_most(settings: Settings, redis: Redis) -> None:
    bucket = Bucket("b", "k", 1e-6, 1000.0)
    doors = [SharedBuckets(settings.redis_url, processes=4) for _ in range(4)]
    passed: list[int] = []

    def spend(door: SharedBuckets) -> None:
        leases = Leases(door)
        passed.append(sum(leases.spend("source", 1, lambda: [bucket]) is None for _ in range(1000)))

    threads = [threading.Thread(target=spend, args=(door,)) for door in doors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 1000
    for door in doors:
        door.close()


def test_a_lease_is_spent_without_asking_and_a_refusal_is_remembered_for_a_moment(
    shared: SharedBuckets, redis: Redis
) -> None:
    leases, bucket, asked = Leases(shared), Bucket("b", "k", 50.0, 50.0), 0

    def buckets_of() -> list[Bucket]:
        nonlocal asked
        asked += 1
        return [bucket]

    before = time.monotonic()
    refusals = [leases.spend("source", 1, buckets_of) for _ in range(2000)]
    elapsed = time.monotonic() - before
    let_in = refusals.count(None)
    assert 50 <= let_in <= 50 + 50 * elapsed + 1
    # Ten leases of the burst; then for each new token one question that gets it, and one that is refused.
    assert asked <= 10 + 2 * (50 * elapsed + 2)
    # A token comes every 20 ms, and this thread may be stopped for longer between the refusal and the look.
    wait_until(lambda: leases.spend("source", 1, buckets_of) is not None and leases.closed("source") is not None)
    assert leases.closed("other") is None
    wait_until(lambda: leases.closed("source") is None)


def test_what_is_given_back_can_be_spent_and_what_is_forgotten_not(shared: SharedBuckets, redis: Redis) -> None:
    leases, bucket = Leases(shared), Bucket("b", "k", 1e-6, 3.0)
    assert leases.spend("source", 3, lambda: [bucket]) is None
    leases.give_back("source", 2)
    leases.give_back("nobody", 2)
    assert leases.spend("source", 1, lambda: [bucket]) is None
    leases.forget(lambda key: key == "source")
    refusal = leases.spend("source", 1, lambda: [bucket])
    assert isinstance(refusal, Grant)
    assert refusal.tokens == 0


def test_without_redis_each_process_keeps_its_part(redis: Redis) -> None:
    away = SharedBuckets("redis://127.0.0.1:1/0", processes=2)
    bucket = Bucket("b", "k", 1e-6, 100.0)
    assert away.take([bucket], 1, 1000).tokens == 50
    assert away.away
    away.probe()
    assert away.away
    assert away.take([bucket], 1, 1).tokens == 0
    away.close()


def test_a_redis_that_does_not_answer_is_asked_once(redis: Redis) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = SharedBuckets(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", processes=1)
        for _ in range(5):
            assert away.take([Bucket("b", "k", 1.0, 100.0)], 1, 1).tokens == 1
        away.close()
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_a_frozen_redis_is_met_once_and_shared_again_when_it_thaws(shared: SharedBuckets, redis: Redis) -> None:
    bucket = Bucket("b", "k", 1e-6, 100.0)
    assert shared.take([bucket], 1, 10).tokens == 10
    with frozen("redis"):
        assert shared.take([bucket], 1, 1).tokens == 1
        assert shared.away
        assert shared.take([bucket], 1, 1000).tokens == 49
        shared.probe()
        assert shared.away

    def back() -> bool:
        shared.probe()
        return not shared.away

    wait_until(back)
    # What was asked while it was frozen is done when it thaws: a lease that nobody got.
    assert shared.take([bucket], 1, 1000).tokens in {89, 90}
