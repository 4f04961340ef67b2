"""The model of waiting times behind a backtest."""

from hypothesis import given
from hypothesis import strategies as st

from app.models import Lane
from app.priority.stored.queueing_model import by_lane, spread, waits


def test_who_comes_to_an_idle_lane_does_not_wait() -> None:
    assert waits([(0.0, 5), (1.0, 5), (2.0, 5)], 1.0) == [0.0, 0.0, 0.0]


def test_a_burst_is_served_one_after_another() -> None:
    assert waits([(0.0, 5)] * 4, 2.0) == [0.0, 0.5, 1.0, 1.5]


def test_the_greatest_priority_goes_first_but_interrupts_nobody() -> None:
    # The first is being served; of those that came meanwhile the urgent one is next.
    assert waits([(0.0, 1), (0.1, 1), (0.2, 9)], 1.0) == [0.0, 0.8, 1.9]


def test_equals_go_in_the_order_of_their_arrival() -> None:
    assert waits([(0.0, 5), (0.25, 5), (0.5, 5)], 1.0) == [0.0, 0.75, 1.5]


def test_each_lane_has_its_own_drain() -> None:
    burst = [(0.0, lane, 5) for lane in (Lane.HIGH, Lane.LOW) for _ in range(2)]
    found = by_lane(burst, {Lane.HIGH: 10.0, Lane.MEDIUM: 1.0, Lane.LOW: 1.0})
    assert [found[lane].longest for lane in Lane] == [0.1, 0.0, 1.0]
    assert [found[lane].count for lane in Lane] == [2, 0, 2]


def test_percentiles_are_of_the_events_themselves() -> None:
    found = spread([float(number) for number in range(100)])
    assert (found.count, found.p50, found.p95, found.p99, found.longest) == (100, 50.0, 95.0, 99.0, 99.0)


ARRIVALS = st.lists(st.tuples(st.floats(0, 100), st.integers(0, 9)), max_size=60).map(sorted)


@given(arrivals=ARRIVALS, drain=st.floats(0.1, 50))
def test_priorities_share_out_the_waiting_and_change_nothing_of_its_sum(
    arrivals: list[tuple[float, int]], drain: float
) -> None:
    by_priority = waits(arrivals, drain)
    by_arrival = waits([(at, 5) for at, _ in arrivals], drain)
    assert len(by_priority) == len(arrivals)
    assert min(by_priority, default=0.0) >= 0.0
    assert abs(sum(by_priority) - sum(by_arrival)) < 1e-6 * (1 + sum(by_arrival))
