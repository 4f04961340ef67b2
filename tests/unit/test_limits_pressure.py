"""Pressure: what it is made of, and which lane it takes first."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models import Lane
from app.web.webhooks.limits.pressure import Signals, Thresholds, factor, step
from config.settings import Settings

SETTINGS = Settings(
    pressure_commit_s=0.1,
    pressure_memory=0.8,
    pressure_age_high_s=10,
    pressure_age_medium_s=100,
    pressure_age_low_s=1000,
)
levels = st.floats(0, 1)


def target(commit_s: float = 0, memory: float = 0, ages: Mapping[Lane, float] | None = None) -> float:
    return Thresholds.of(SETTINGS).target(Signals(commit_s, memory, ages or {}))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({}, 0.0),
        ({"commit_s": 0.1}, 0.0),
        ({"commit_s": 0.25}, 0.5),
        ({"commit_s": 0.4}, 1.0),
        ({"commit_s": 4.0}, 1.0),
        ({"memory": 0.8}, 0.0),
        ({"memory": 0.9}, 0.5),
        ({"memory": 1.0}, 1.0),
        ({"ages": {Lane.HIGH: 9.0}}, 0.0),
        ({"ages": {Lane.HIGH: 40.0}}, 1.0),
        ({"ages": {Lane.MEDIUM: 10_000.0}}, 2 / 3),
        ({"ages": {Lane.LOW: 100_000.0}}, 1 / 3),
        ({"ages": {Lane.LOW: 100_000.0, Lane.HIGH: 25.0}, "memory": 0.85}, 0.5),
    ],
)
def test_the_worst_signal_decides(seen: dict[str, object], expected: float) -> None:
    assert target(**seen) == pytest.approx(expected)  # type: ignore[arg-type]


@given(levels, levels)
def test_low_shrinks_before_medium_before_high_and_none_to_nothing(level: float, more: float) -> None:
    left = [factor(lane, level) for lane in (Lane.LOW, Lane.MEDIUM, Lane.HIGH)]
    assert left == sorted(left)
    assert all(0 < one <= 1 for one in left)
    for less_urgent, lane in ((Lane.LOW, Lane.MEDIUM), (Lane.MEDIUM, Lane.HIGH)):
        if factor(lane, level) < 1:
            assert factor(less_urgent, level) == pytest.approx(0.001)
    lower, higher = sorted((level, more))
    assert all(factor(lane, higher) <= factor(lane, lower) for lane in Lane)


def test_without_pressure_every_budget_is_whole() -> None:
    assert [factor(lane, 0.0) for lane in Lane] == [1.0, 1.0, 1.0]
    assert factor(Lane.HIGH, 1.0) == pytest.approx(0.1)


def test_pressure_rises_fast_and_falls_slowly() -> None:
    assert step(0.0, 1.0, 1.0) == pytest.approx(1 / 6)
    assert step(0.0, 0.1, 1.0) == pytest.approx(0.1)
    assert step(1.0, 0.0, 1.0) == pytest.approx(29 / 30)
    assert step(0.01, 0.0, 1.0) == 0.0


@given(levels, st.lists(levels, min_size=1, max_size=30))
def test_pressure_stays_within_its_bounds_and_never_passes_its_target(level: float, targets: list[float]) -> None:
    for wanted in targets:
        after = step(level, wanted, 1.0)
        assert min(level, wanted) <= after <= max(level, wanted)
        level = after
