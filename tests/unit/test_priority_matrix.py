"""The campaign matrix: what a score is made of, what it leads to, and its laws."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.events.incoming import JsonObject
from app.models import Lane
from app.priority import Compiled, PolicyInvalid, read_policy
from app.priority.matrix import curve, instant
from tests.support.factories import incoming
from tests.support.policies import AT, HOUR, OTHERWISE, REVENUE, URGENCY, compiled, matrix


def scored(policy: Compiled, data: JsonObject, at: float | None = AT, kind: str = "campaign.updated") -> int | None:
    return policy.decide(incoming(kind, data=data), kind="", at=at).score


def test_a_score_is_the_weighted_mean_of_the_factors_that_are_there() -> None:
    policy = compiled(matrix=matrix(urgency=URGENCY, revenue=REVENUE))
    starts = {"starts_at": "2026-11-27T06:00:00Z"}
    assert scored(policy, {**starts, "revenue": 200}) == 80
    assert scored(policy, starts) == 100
    assert scored(policy, {"revenue": "500"}) == 50
    assert scored(policy, {}) is None
    assert scored(policy, {**starts, "revenue": 500}, at=None) == 50
    assert policy.decide(incoming("price.updated"), kind="", at=AT).score is None


@pytest.mark.parametrize(
    ("data", "score"),
    [
        ({"starts_at": "2026-11-27T06:00:00Z"}, 100),
        ({"starts_at": "2026-11-27T06:30:00"}, 95),
        ({"starts_at": int(AT) + 1800}, 95),
        ({"starts_at": (int(AT) + 1800) * 1000}, 95),
        # Running: what changes a running campaign is seen by customers, however far its end.
        ({"starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-12-24T00:00:00Z"}, 50),
        ({"starts_at": "2026-11-01T00:00:00Z"}, 50),
        # The start is 30 minutes ahead, the end 20 hours; and the other way round, past.
        ({"starts_at": "2026-11-27T06:30:00Z", "ends_at": "2026-11-28T02:00:00Z"}, 95),
        ({"starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-11-26T06:00:00Z"}, 10),
        # Just past is as urgent as just ahead: the shop may show it still.
        ({"ends_at": "2026-11-27T05:30:00Z"}, 95),
        ({"ends_at": "2026-01-01T00:00:00Z"}, 10),
        ({"starts_at": "soon"}, None),
        # Go's zero time is how some services write "not yet".
        ({"starts_at": "0001-01-01T00:00:00Z"}, None),
    ],
)
def test_urgency_is_the_time_to_the_nearer_end_of_the_campaign(data: JsonObject, score: int | None) -> None:
    assert scored(compiled(matrix=matrix(urgency=URGENCY)), data) == score


def test_of_several_readings_the_greatest_counts_and_texts_have_values() -> None:
    roi = {"pointer": "/roi", "breakpoints": [[0, 0], [10, 100]]}
    policy = compiled(
        matrix=matrix(
            revenue={"weight": 1, "readings": [*REVENUE["readings"], roi]},  # type: ignore[misc]
            brand={"weight": 1, "readings": [{"pointer": "/brand", "values": {"Flagship": 80}}]},
        )
    )
    assert scored(policy, {"revenue": 100, "roi": 4}) == 40
    assert scored(policy, {"brand": "flagship"}) == 80
    assert scored(policy, {"brand": "unheard of"}) is None
    assert scored(policy, {"brand": 5}) is None


def test_an_events_kind_counts_by_the_first_line_that_fits() -> None:
    types = [{"type": "*.started", "points": 100}, {"type": ["campaign.*"], "points": 20}]
    policy = compiled(matrix={**matrix(event={"weight": 1, "types": types, "otherwise": 5}), "when": {}})
    kinds = ["campaign.started", "Campaign.Updated", "price.updated"]
    assert [scored(policy, {}, kind=kind) for kind in kinds] == [100, 20, 5]


@pytest.mark.parametrize(
    ("revenue", "lane", "priority"),
    [(700, Lane.HIGH, 9), (695, Lane.HIGH, 9), (694, Lane.MEDIUM, 4), (300, Lane.MEDIUM, 4), (0, Lane.LOW, 1)],
)
def test_thresholds_map_a_score_to_lane_and_priority(revenue: int, lane: Lane, priority: int) -> None:
    decided = compiled(matrix=matrix(revenue=REVENUE)).decide(
        incoming("campaign.updated", data={"revenue": revenue}), kind="", at=AT
    )
    assert (decided.lane, decided.priority) == (lane, priority)


def test_a_rule_goes_before_the_matrix_and_the_matrix_fills_what_it_leaves_open() -> None:
    given_lane = compiled({"name": "it", "when": {}, "lane": "low"}, matrix=matrix(revenue=REVENUE))
    event = incoming("campaign.updated", data={"revenue": 1000})
    decided = given_lane.decide(event, kind="", at=AT)
    assert (decided.lane, decided.priority, decided.score) == (Lane.LOW, 9, 100)
    both = compiled({"name": "it", "when": {}, "lane": "low", "priority": 0}, matrix=matrix(revenue=REVENUE))
    assert both.decide(event, kind="", at=AT).reasons == ("it", "score 100 = revenue 100 x 100%", "policy 7")


def test_the_matrix_looks_at_the_events_it_is_for() -> None:
    only = {**matrix(revenue=REVENUE), "when": {"payload": [{"pointer": "/big", "op": "eq", "value": True}]}}
    policy = compiled(matrix=only)
    assert scored(policy, {"revenue": 1000}) is None
    assert scored(policy, {"revenue": 1000, "big": True}) == 100


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (matrix(urgency={**URGENCY, "breakpoints": [[0, 10], [HOUR, 20]]}), "may not rise with the seconds"),
        (matrix(urgency={**URGENCY, "breakpoints": [[HOUR, 90], [0, 100]]}), "values must ascend"),
        (matrix(revenue={"weight": 1, "readings": [{"pointer": "/x"}]}), "either breakpoints or values"),
        (matrix(revenue={**REVENUE, "weight": 0}), "/matrix/factors/revenue/weight"),
        (matrix(revenue={"weight": 1, "readings": [{"pointer": "/x", "breakpoints": [[1, 0], [1, 5]]}]}), "ascend"),
        (matrix(revenue={"weight": 1, "readings": [{"pointer": "/x", "breakpoints": [[1, 101]]}]}), "less than or"),
        ({**matrix(revenue=REVENUE), "thresholds": [{"score": 5, "lane": "low", "priority": 1}]}, "must be 0"),
        (
            {
                **matrix(revenue=REVENUE),
                "thresholds": [{"score": s, "lane": "low", "priority": 1} for s in (5, 9, 0)],
            },
            "scores must descend",
        ),
    ],
)
def test_a_matrix_that_cannot_be_is_refused(made: JsonObject, said: str) -> None:
    with pytest.raises(PolicyInvalid) as refused:
        read_policy({"otherwise": OTHERWISE, "matrix": made})
    assert said in str(refused.value)


def test_a_curve_is_level_beyond_its_ends_and_straight_between() -> None:
    points = curve(((0.0, 10.0), (10.0, 20.0)))
    assert [points(value) for value in (float("-inf"), -1, 0, 5, 10, 11, float("inf"))] == [10, 10, 10, 15, 20, 20, 20]


@pytest.mark.parametrize("value", [None, True, [], {}, "", "x", "2026-13-01", "0", "2026-02-30"])
def test_what_is_no_time_is_none(value: Any) -> None:
    assert instant(value) is None


POINTS = st.lists(
    st.tuples(st.integers(0, 10**6), st.floats(0, 100)), min_size=1, max_size=6, unique_by=lambda p: p[0]
)


@given(
    points=POINTS,
    weights=st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)),
    revenue=st.none() | st.integers(0, 2_000),
    near=st.floats(0, 2e6),
    further=st.floats(0, 2e6),
)
def test_a_campaign_that_starts_sooner_never_scores_less(
    points: list[tuple[int, float]], weights: tuple[float, float], revenue: int | None, near: float, further: float
) -> None:
    falling = zip(sorted(at for at, _ in points), sorted((made for _, made in points), reverse=True), strict=True)
    urgency = {**URGENCY, "weight": weights[0], "breakpoints": [list(point) for point in falling]}
    policy = compiled(matrix=matrix(urgency=urgency, revenue={**REVENUE, "weight": weights[1]}))
    body = {"starts_at": AT, **({} if revenue is None else {"revenue": revenue})}
    sooner = scored(policy, body, at=AT - near)
    later = scored(policy, body, at=AT - near - further)
    assert sooner is not None
    assert later is not None
    assert 0 <= later <= sooner <= 100
