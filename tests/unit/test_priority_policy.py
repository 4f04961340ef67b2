"""A policy as data: what may be written, what each part means, and that nothing in a body can break it."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.events.incoming import JsonObject
from app.models import Lane
from app.priority import Compiled, PolicyInvalid, read_policy
from app.priority.default import DOCUMENT
from tests.support.factories import incoming
from tests.support.policies import AT, OTHERWISE, REVENUE, URGENCY, compiled, matrix


def one(when: JsonObject) -> Compiled:
    return compiled({"name": "it", "when": when, "lane": "high", "priority": 9})


def matches(when: JsonObject, event_type: str = "price.updated", *, kind: str = "standard", **changes: Any) -> bool:
    return one(when).decide(incoming(event_type, **changes), kind=kind, at=None).rule == "it"


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({}, True),
        ({"source": "shop"}, True),
        ({"source": "SH*"}, True),
        ({"source": ["other", "sho?"]}, True),
        ({"source": "other"}, False),
        ({"kind": "standard"}, True),
        ({"kind": "shopify"}, False),
        ({"type": "price.*"}, True),
        ({"type": "*.deleted"}, False),
        ({"type": "price.updated"}, True),
        ({"type": "price"}, False),
        ({"entity_type": "price"}, True),
        ({"entity_type": "pri*"}, True),
        ({"entity_type": ["product", "segment"]}, False),
        ({"verb": "updated"}, True),
        ({"verb": ["created", "up*"]}, True),
        ({"verb": "created"}, False),
        ({"entity_type": "price", "verb": "created"}, False),
        ({"entity_type": "price", "source": "shop", "kind": "standard", "verb": "updated"}, True),
    ],
)
def test_a_rule_means_the_events_that_fit_all_that_it_gives(when: JsonObject, expected: bool) -> None:
    assert matches(when) is expected


BODY = {
    "long": "start " + "x" * 20_000 + " end",
    "n": 5,
    "exact": Decimal("0.1"),
    "price": "19.90",
    "flag": True,
    "off": False,
    "null": None,
    "text": "Summer Sale",
    "tags": ["a", 2],
    "deep": {"a/b": {"~": ["x", {"y": 1}]}},
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"pointer": "/n", "op": "exists"}, True),
        ({"pointer": "/null", "op": "exists"}, False),
        ({"pointer": "/nothing", "op": "exists"}, False),
        ({"pointer": "/nothing", "op": "absent"}, True),
        ({"pointer": "/null", "op": "absent"}, True),
        ({"pointer": "/n", "op": "absent"}, False),
        ({"pointer": ["/nothing", "/n"], "op": "eq", "value": 5}, True),
        ({"pointer": "/n", "op": "eq", "value": 6}, False),
        ({"pointer": "/n", "op": "eq", "value": "5"}, False),
        ({"pointer": "/price", "op": "eq", "value": 19.9}, True),
        ({"pointer": "/price", "op": "eq", "value": "19.90"}, True),
        ({"pointer": "/flag", "op": "eq", "value": True}, True),
        ({"pointer": "/flag", "op": "eq", "value": 1}, False),
        ({"pointer": "/n", "op": "ne", "value": 6}, True),
        ({"pointer": "/nothing", "op": "ne", "value": 6}, True),
        ({"pointer": "/n", "op": "in", "value": [1, 5]}, True),
        ({"pointer": "/text", "op": "in", "value": ["Winter"]}, False),
        ({"pointer": "/off", "op": "in", "value": [False]}, True),
        ({"pointer": "/n", "op": "not_in", "value": [1, 2]}, True),
        ({"pointer": "/n", "op": "not_in", "value": [5]}, False),
        ({"pointer": "/n", "op": "lt", "value": 5}, False),
        ({"pointer": "/n", "op": "le", "value": 5}, True),
        ({"pointer": "/price", "op": "gt", "value": 19}, True),
        ({"pointer": "/exact", "op": "ge", "value": 0.1}, True),
        ({"pointer": "/text", "op": "gt", "value": 1}, False),
        ({"pointer": "/flag", "op": "gt", "value": 0}, False),
        ({"pointer": "/nothing", "op": "lt", "value": 9}, False),
        ({"pointer": "/tags", "op": "contains", "value": "a"}, True),
        ({"pointer": "/tags", "op": "contains", "value": 2}, True),
        ({"pointer": "/tags", "op": "contains", "value": 3}, False),
        ({"pointer": "/text", "op": "contains", "value": "Sale"}, True),
        ({"pointer": "/n", "op": "contains", "value": "5"}, False),
        ({"pointer": "/text", "op": "starts_with", "value": "Sum"}, True),
        ({"pointer": "/n", "op": "starts_with", "value": "5"}, False),
        ({"pointer": "/text", "op": "glob", "value": "*sale"}, True),
        ({"pointer": "/n", "op": "glob", "value": "*"}, False),
        ({"pointer": "/long", "op": "glob", "value": "*start*"}, True),
        ({"pointer": "/long", "op": "glob", "value": "*end"}, False),
        ({"pointer": "/tags/1", "op": "eq", "value": 2}, True),
        ({"pointer": "/tags/9", "op": "exists"}, False),
        ({"pointer": "/tags/x", "op": "exists"}, False),
        ({"pointer": "/deep/a~1b/~0/1/y", "op": "eq", "value": 1}, True),
        ({"pointer": "/n/deeper", "op": "exists"}, False),
        # What the sender's object doesn't have, the whole body may.
        ({"pointer": "/type", "op": "eq", "value": "price.updated"}, True),
        ({"pointer": "/data/n", "op": "eq", "value": 5}, True),
    ],
)
def test_a_condition_holds_or_not(condition: JsonObject, expected: bool) -> None:
    assert matches({"payload": [condition]}, data=BODY) is expected


def test_every_condition_of_a_rule_must_hold() -> None:
    both = [{"pointer": "/n", "op": "ge", "value": 5}, {"pointer": "/flag", "op": "eq", "value": False}]
    assert not matches({"payload": both}, data=BODY)


def test_the_first_rule_that_matches_decides_and_the_rest_is_otherwise() -> None:
    policy = compiled(
        {"name": "never", "when": {"payload": [{"pointer": "/no", "op": "exists"}]}, "lane": "low", "priority": 0},
        {"name": "first", "when": {"entity_type": "price"}, "lane": "high", "priority": 3},
        {"name": "second", "when": {"verb": "updated"}, "lane": "low", "priority": 1},
    )
    assert [(d.rule, d.lane, d.priority) for d in (policy.decide(incoming(t), kind="", at=AT) for t in (
        "price.updated", "segment.updated", "segment.created",
    ))] == [("first", Lane.HIGH, 3), ("second", Lane.LOW, 1), ("the rest", Lane.MEDIUM, 5)]  # fmt: skip
    assert policy.decide(incoming(), kind="", at=AT).reasons == ("first", "policy 7")


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)])
def test_the_order_of_the_rules_counts_whatever_they_look_at(order: tuple[int, ...]) -> None:
    whens = [{"entity_type": "price"}, {"verb": "updated"}, {"type": "price.*"}, {"source": "shop"}]
    rules = [{"name": str(number), "when": whens[number], "lane": "low"} for number in order]
    assert compiled(*rules).decide(incoming(), kind="", at=AT).rule == str(order[0])


def test_a_rule_that_leaves_the_priority_open_takes_the_rests() -> None:
    policy = compiled({"name": "it", "when": {}, "lane": "high"})
    assert policy.decide(incoming(), kind="", at=AT).priority == 5
    lane_open = compiled({"name": "it", "when": {}, "priority": 2})
    decided = lane_open.decide(incoming(), kind="", at=AT)
    assert (decided.lane, decided.priority) == (Lane.MEDIUM, 2)


def test_an_explanation_names_every_rule_that_was_tried_and_why_it_missed() -> None:
    policy = compiled(
        {"name": "by source", "when": {"source": "other"}, "lane": "low"},
        {"name": "by body", "when": {"payload": [{"pointer": "/n", "op": "gt", "value": 9}]}, "lane": "low"},
        {"name": "it", "when": {"entity_type": "campaign"}, "lane": "high"},
        {"name": "never reached", "when": {}, "lane": "low"},
        matrix=matrix(urgency=URGENCY, revenue=REVENUE),
    )
    explained = policy.explain(incoming("campaign.updated", data={"revenue": 500, "n": 1}), kind="", at=AT).as_json()
    assert explained["rules"] == [
        {"rule": "by source", "matched": False, "missed": "source"},
        {"rule": "by body", "matched": False, "missed": "/n gt"},
        {"rule": "it", "matched": True, "missed": None},
    ]
    assert explained["factors"] == [
        {"factor": "urgency", "weight": 3.0, "points": None, "share": None},
        {"factor": "revenue", "weight": 1.0, "points": 50.0, "share": 1.0},
    ]
    assert (explained["lane"], explained["score"], explained["policy"]) == ("high", 50, 7)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"otherwise": None}, "/otherwise"),
        ({"unknown": 1}, "/unknown: Extra inputs"),
        ({"rules": [{"name": "x", "when": {}, "lane": "urgent"}]}, "/rules/0/lane: Input should be 'high'"),
        ({"rules": [{"name": "x", "when": {}, "priority": 10}]}, "/rules/0/priority"),
        ({"rules": [{"name": " ", "when": {}}]}, "/rules/0/name"),
        ({"rules": [{"name": "x", "when": {}}, {"name": "x", "when": {}}]}, "two rules have the name 'x'"),
        ({"rules": [{"name": "x\x00", "when": {}}]}, "/rules/0/name: holds control characters"),
        ({"rules": [{"name": "x", "when": {"type": []}}]}, "/rules/0/when/type"),
        ({"rules": [{"name": str(n), "when": {}} for n in range(501)]}, "/rules: Tuple should have at most 500"),
        ({"rules": [{"name": "x", "when": {"payload": [{"pointer": "n", "op": "eq"}]}}]}, "/payload/0/pointer"),
        ({"matrix": matrix()}, "/matrix: a matrix needs a factor"),
        ({"matrix": {**matrix(revenue=REVENUE), "thresholds": []}}, "/matrix/thresholds"),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_is_refused_by_name(change: JsonObject, said: str) -> None:
    with pytest.raises(PolicyInvalid) as refused:
        read_policy({"rules": [], "otherwise": OTHERWISE, **change})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"op": "exists", "value": 1}, "the op exists takes no value"),
        ({"op": "in", "value": 1}, "the op in takes a list of values"),
        ({"op": "not_in", "value": []}, "the op not_in takes a list of values"),
        ({"op": "lt", "value": "9"}, "the op lt takes a number"),
        ({"op": "ge", "value": True}, "the op ge takes a number"),
        ({"op": "glob", "value": 9}, "the op glob takes a text"),
        ({"op": "eq"}, "the op eq takes one value"),
        ({"op": "contains", "value": [1]}, "the op contains takes one value"),
    ],
)
def test_a_condition_without_a_fitting_value_is_refused(condition: JsonObject, said: str) -> None:
    rules = [{"name": "x", "when": {"payload": [{"pointer": "/n", **condition}]}}]
    with pytest.raises(PolicyInvalid) as refused:
        read_policy({"rules": rules, "otherwise": OTHERWISE})
    assert f"/rules/0/when/payload/0: {said}" in str(refused.value)


def test_a_document_that_is_no_object_or_nests_too_deeply_is_refused() -> None:
    nothing: list[Any] = [[], None, "x"]
    for document in nothing:
        with pytest.raises(PolicyInvalid):
            read_policy(document)
    deep: Any = 1
    for _ in range(40):
        deep = {"a": deep}
    with pytest.raises(PolicyInvalid, match="nested too deeply"):
        read_policy(deep)


def test_exact_decimals_of_a_document_are_numbers_of_the_policy() -> None:
    condition = {"pointer": "/n", "op": "lt", "value": Decimal("0.5")}
    rule = {"name": "x", "when": {"payload": [condition]}, "lane": "low"}
    document = read_policy({"rules": [rule], "otherwise": OTHERWISE}).document()
    assert document["rules"][0]["when"]["payload"] == [{"pointer": ["/n"], "op": "lt", "value": 0.5}]


def test_a_flood_of_invented_types_fills_no_memory_and_changes_no_answer() -> None:
    policy = one({"type": "noun7.*"})
    for number in range(5_000):
        assert (policy.decide(incoming(f"noun{number}.x"), kind="", at=AT).rule == "it") is (number == 7)
    assert len(policy._sorts) <= 4_096


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


FIELDS = ("starts_at", "ends_at", "expected_revenue", "roi", "audience_size", "brand_tier", "brand_weight", "price",
          "qty", "variants", "campaign", "is_in_stock")  # fmt: skip


SHIPPED = Compiled(read_policy(DOCUMENT))


VALUES: JsonObject = {"glob": "*a*", "starts_with": "zz", "contains": "zz", "in": ["zz", True], "lt": -1e9, "eq": 77}


ALL_OPS = compiled(
    *(
        {"name": op, "when": {"payload": [{"pointer": "/price", "op": op, "value": value}]}, "lane": "low"}
        for op, value in VALUES.items()
    )
)


@given(
    data=st.dictionaries(st.sampled_from(FIELDS), JSON),
    event_type=st.sampled_from(["campaign.updated", "promotion.started", "stock_item.updated", "product.updated"]),
    at=st.none() | st.floats(0, 4e9),
)
def test_whatever_a_body_holds_there_is_an_answer_and_a_score_in_bounds(
    data: JsonObject, event_type: str, at: float | None
) -> None:
    for policy in (SHIPPED, ALL_OPS):
        explained = policy.explain(incoming(event_type, data=data), kind="shopify", at=at)
        assert explained.decision == policy.decide(incoming(event_type, data=data), kind="shopify", at=at)
        assert 0 <= explained.decision.priority <= 9
        assert explained.decision.score is None or 0 <= explained.decision.score <= 100
