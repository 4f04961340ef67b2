"""The token bucket: what it lets through, and whether its waits are honest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.webhooks.limits.token_bucket import Bucket, LocalBuckets

rates = st.floats(0.1, 1000)
bursts = st.integers(1, 1000)
pauses = st.lists(st.floats(0, 10), min_size=1, max_size=50)


@given(rates, bursts, st.lists(st.tuples(st.floats(0, 10), st.integers(1, 50)), min_size=1, max_size=50))
def test_never_more_than_the_burst_and_the_rate_pass(per_s: float, burst: int, asked: list[tuple[float, int]]) -> None:
    local, bucket, now, passed = LocalBuckets(), Bucket("b", "b", per_s, burst), 0.0, 0
    for pause, need in asked:
        now += pause
        tokens = local.take([bucket], min(need, burst), min(need, burst), now).tokens
        passed += tokens
        assert passed <= burst + per_s * now + 0.001


@given(rates, bursts, st.floats(0, 0.5), st.integers(1, 5), pauses)
def test_whoever_waits_as_told_gets_in(
    per_s: float, burst: int, reserved: float, need: int, elapsed: list[float]
) -> None:
    local, bucket, now = LocalBuckets(), Bucket("b", "b", per_s, burst, reserved * burst), 0.0
    for pause in elapsed:
        now += pause
        grant = local.take([bucket], need, need, now)
        if not grant.tokens:
            assert grant.wait_s > 0
            assert grant.by is bucket
            now += grant.wait_s
            assert local.take([bucket], need, need, now).tokens == need


def test_a_batch_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_for_afterwards() -> None:
    local, bucket = LocalBuckets(), Bucket("b", "b", 10, 5)
    assert local.take([bucket], 25, 25, 0.0).tokens == 25
    assert local.take([bucket], 1, 1, 1.0).wait_s == pytest.approx(1.1)
    assert local.take([bucket], 1, 1, 2.11).tokens == 1


def test_buckets_that_are_asked_together_give_together_or_not_at_all() -> None:
    local, wide, narrow = LocalBuckets(), Bucket("wide", "w", 10, 100), Bucket("narrow", "n", 1, 2)
    assert local.take([wide, narrow], 1, 50, 0.0).tokens == 2
    refusal = local.take([wide, narrow], 1, 50, 0.0)
    assert (refusal.tokens, refusal.by, refusal.wait_s) == (0, narrow, 1.0)
    assert local.take([wide], 1, 1000, 0.0).tokens == 98


def test_what_is_reserved_is_left_for_others() -> None:
    local = LocalBuckets()
    low, high = Bucket("b", "b", 1, 10, 2), Bucket("b", "b", 1, 10)
    assert local.take([low], 1, 100, 0.0).tokens == 8
    assert local.take([low], 1, 1, 0.0).tokens == 0
    assert local.take([high], 1, 100, 0.0).tokens == 2


def test_each_process_has_its_part_of_a_local_bucket() -> None:
    local, bucket = LocalBuckets(4), Bucket("b", "b", 40, 100)
    assert local.take([bucket], 1, 1000, 0.0).tokens == 25
    assert local.take([bucket], 1, 1000, 1.0).tokens == 10
