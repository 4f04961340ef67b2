"""The share that is reserved for the less urgent lanes while high has more to do than it can."""

from app.dispatcher.lane_share import SHARES, LaneShare
from app.models import Lane


def held(*, given: int = 100, out: int = 200, now: float = 0.0) -> LaneShare:
    lane_share = LaneShare()
    lane_share.observe(behind=True, out=out, given=given, now=now)
    return lane_share


def test_while_high_keeps_up_every_lane_has_all_it_has_room_for() -> None:
    lane_share = LaneShare()
    lane_share.observe(behind=False, out=3, given=2, now=0.0)
    assert [lane_share.allowance(lane) for lane in Lane] == [None, None, None]


def test_while_high_is_behind_the_others_have_their_shares_of_what_it_was_given() -> None:
    lane_share = held(given=100)
    assert [lane_share.allowance(lane) for lane in Lane] == [None, 12, 7]
    lane_share.consume(Lane.LOW, 7)
    lane_share.observe(behind=True, out=200, given=100, now=0.1)
    assert [lane_share.allowance(lane) for lane in Lane] == [None, 24, 7]


def test_all_of_them_together_have_at_most_a_fourth_of_what_is_applied() -> None:
    others = sum(SHARES.values())
    assert others / (1 + others) <= 0.25


def test_what_is_out_while_high_is_open_holds_up_nobody() -> None:
    lane_share = held(out=400)
    lane_share.observe(behind=False, out=59, given=0, now=0.1)
    assert [lane_share.allowance(lane) for lane in Lane] == [None, None, None]


def test_where_nothing_of_high_moves_the_others_wait_for_a_second_only() -> None:
    lane_share = held(now=0.0, out=200)
    lane_share.observe(behind=True, out=300, given=0, now=0.9)
    assert lane_share.allowance(Lane.LOW) is not None
    lane_share.observe(behind=True, out=300, given=0, now=1.1)
    assert lane_share.allowance(Lane.LOW) is None


def test_what_high_finishes_is_movement_too() -> None:
    lane_share = held(now=0.0, out=200)
    lane_share.observe(behind=True, out=250, given=0, now=1.5)
    assert lane_share.allowance(Lane.MEDIUM) is not None
