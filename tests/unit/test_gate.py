"""The version gate: newest wins, in a total order that no arrival can change."""

import functools
import itertools
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.events.incoming import Operation
from app.handlers.version_gate import Position, State, Verdict, judge


def state(version: int = 1, operation: Operation = Operation.UPDATE, data: str | None = "{}", **more: object) -> State:
    fingerprint = more.get("fingerprint", b"a")
    assert isinstance(fingerprint, bytes)
    position = Position(Decimal(version), Decimal(str(more.get("sequence", 0))), operation, fingerprint)
    return State(position, bool(more.get("final")), None if operation is Operation.DELETE else data)


def test_the_first_state_is_written() -> None:
    assert judge(None, state()) is Verdict.WRITE


def test_a_newer_state_is_written_and_an_older_one_is_stale() -> None:
    assert judge(state(1), state(2, data="{1}")) is Verdict.WRITE
    assert judge(state(2), state(1, data="{1}")) is Verdict.STALE


def test_the_same_content_at_a_newer_version_only_advances_it() -> None:
    assert judge(state(1), state(2)) is Verdict.ADVANCE


def test_the_same_state_again_is_the_same() -> None:
    assert judge(state(1), state(1)) is Verdict.SAME


def test_the_senders_sequence_orders_one_version() -> None:
    assert judge(state(1, sequence=2), state(1, sequence=1, data="{1}")) is Verdict.STALE


def test_a_tie_goes_to_delete_then_update_then_create() -> None:
    create, update, delete = (state(1, operation) for operation in Operation)
    assert judge(create, update) is Verdict.ADVANCE
    assert judge(update, create) is Verdict.STALE
    assert judge(update, delete) is Verdict.WRITE
    assert judge(delete, update) is Verdict.TOMBSTONED


def test_a_tie_of_equal_operations_goes_to_the_greater_fingerprint() -> None:
    small, great = state(1, fingerprint=b"a"), state(1, data="{1}", fingerprint=b"b")
    assert judge(small, great) is Verdict.WRITE
    assert judge(great, small) is Verdict.STALE
    assert small.position.ties_with(great.position)
    assert not small.position.ties_with(small.position)


def test_a_strictly_newer_save_lifts_a_tombstone_with_a_version() -> None:
    tombstone = state(2, Operation.DELETE)
    assert judge(tombstone, state(3)) is Verdict.WRITE
    assert judge(tombstone, state(1)) is Verdict.TOMBSTONED


def test_nothing_lifts_a_final_tombstone() -> None:
    tombstone = state(2, Operation.DELETE, final=True)
    assert judge(tombstone, state(3)) is Verdict.TOMBSTONED
    assert judge(tombstone, state(3, Operation.DELETE)) is Verdict.SAME
    assert judge(tombstone, state(3, Operation.DELETE, final=True)) is Verdict.ADVANCE


def test_a_final_delete_wins_over_a_newer_save() -> None:
    assert judge(state(9), state(2, Operation.DELETE, final=True)) is Verdict.WRITE


STATES = st.builds(
    lambda version, sequence, operation, data, final: State(
        Position(Decimal(version), Decimal(sequence), operation, data.encode() + bytes([operation, final])),
        final=final and operation is Operation.DELETE,
        data=None if operation is Operation.DELETE else data,
    ),
    st.integers(0, 3),
    st.integers(0, 1),
    st.sampled_from(Operation),
    st.sampled_from(["a", "b", "c"]),
    st.booleans(),
)


@given(st.lists(STATES, min_size=1, max_size=5))
def test_every_order_of_arrival_ends_in_the_same_state(states: list[State]) -> None:
    def take(current: State | None, offered: State) -> State | None:
        return offered if judge(current, offered) in {Verdict.WRITE, Verdict.ADVANCE} else current

    ends = {functools.reduce(take, order, None) for order in itertools.permutations([*states[:4], states[0]])}
    assert len(ends) == 1
