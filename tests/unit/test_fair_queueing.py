"""Whose turn it is: in proportion to the weights, whoever waits, and nobody saves up turns."""

from hypothesis import given
from hypothesis import strategies as st

from app.dispatcher.fair_queueing import FairQueue

WEIGHTS = st.dictionaries(st.integers(1, 50), st.integers(1, 100), min_size=1, max_size=20)


@given(weights=WEIGHTS, room=st.integers(0, 500))
def test_the_whole_room_is_shared(weights: dict[int, int], room: int) -> None:
    quotas = FairQueue().allocate(weights, room)
    assert quotas.keys() == weights.keys()
    assert sum(quotas.values()) == room


@given(weights=WEIGHTS, rooms=st.lists(st.integers(0, 60), min_size=1, max_size=30))
def test_sources_that_always_wait_get_turns_in_proportion_to_their_weights(
    weights: dict[int, int], rooms: list[int]
) -> None:
    fair_queue, total = FairQueue(), dict.fromkeys(weights, 0)
    for room in rooms:
        for source, quota in fair_queue.allocate(weights, room).items():
            fair_queue.charge(source, weights[source], quota)
            total[source] += quota
        fair_queue.advance(weights)
    # Between any two, never further apart than one turn of each.
    places = [(total[source] / weight, 1 / weight) for source, weight in weights.items()]
    for one, turn in places:
        for other, other_turn in places:
            assert one - other <= turn + other_turn + 1e-9


def test_a_source_that_was_away_gets_its_share_and_no_more() -> None:
    fair_queue = FairQueue()
    for _ in range(100):
        fair_queue.charge(1, 1, fair_queue.allocate({1: 1}, 10)[1])
        fair_queue.advance({1: 1})
    assert fair_queue.allocate({1: 1, 2: 1}, 10) == {1: 5, 2: 5}


def test_a_source_that_took_all_it_had_is_forgotten() -> None:
    fair_queue = FairQueue()
    fair_queue.charge(1, 1, 3)
    fair_queue.advance({})
    assert fair_queue._at == {}
    assert fair_queue.allocate({1: 1, 2: 3}, 4) == {1: 1, 2: 3}


def test_nobody_waits_so_nobody_gets_a_turn() -> None:
    assert FairQueue().allocate({}, 10) == {}
