"""The option ``mapping``: rules by which an operator teaches any kind of source a topic."""

import json
from typing import Any

import pytest

from app.errors import FieldInvalid
from app.events.incoming import Clock, Completeness, Incoming, JsonObject, Operation
from app.sources.kinds import KINDS, Request
from app.sources.kinds.mapping import MOST_EACH
from app.sources.kinds.read import Reading, read

AT = 1_794_000_000.0
ISO = "2026-11-06T21:20:00Z"
HMAC = KINDS["hmac"]
NO_HEADERS: dict[str, str] = {}


def reading(body: JsonObject, mapping: Any, headers: dict[str, str] = NO_HEADERS, **options: Any) -> Reading:
    config = HMAC.config.model_validate({"mapping": mapping, **options})
    return read(HMAC, Request(headers, json.dumps(body).encode(), AT), [], config, "shop")


def one(body: JsonObject, rule: JsonObject, headers: dict[str, str] = NO_HEADERS, **options: Any) -> Incoming:
    (event,) = reading(body, [{"type": "*", **rule}], headers, **options).events
    return event


@pytest.mark.parametrize(
    ("glob", "topic", "matches"),
    [
        ("survey.answered", "survey.answered", True),
        ("survey.*", "survey.answered", True),
        ("survey.*", "Survey.answered", False),
        ("*.answered", "survey/part/answered", True),
        ("surve?.answered", "survey.answered", True),
        ("survey/answered", "survey/answered", True),
        ("survey.answered", "survey/answered", True),
        ("v2.core.account[requirements].updated", "v2.core.account[requirements].updated", True),
        ("v2.core.account-x5Brequirements-x5D.updated", "v2.core.account[requirements].updated", True),
        ("survey", "survey.answered", False),
        ("*", "", True),
    ],
)
def test_a_glob_is_over_the_senders_topic_or_its_normal_form(glob: str, topic: str, matches: bool) -> None:
    body = {"type": topic, "data": {"id": 1}}
    mapping = [{"type": glob, "event_type": "told.so", "id": "/data/id"}]
    try:
        found = reading(body, mapping)
    except FieldInvalid:  # the kind's own reading needs a type
        assert not matches
        return
    assert (found.rule is not None) == matches
    assert (found.events[0].type == "told.so") == matches


@pytest.mark.parametrize(
    ("where", "matches"),
    [
        ({"/data/kind": "nps"}, True),
        ({"/data/kind": "n*"}, True),
        ({"/data/kind": "csat"}, False),
        ({"/data/score": 9}, True),
        ({"/data/score": "9"}, False),
        ({"/data/score": True}, False),
        ({"/data/done": True}, True),
        ({"/data/done": 1}, False),
        ({"/data/done": "true"}, False),
        ({"/data/nothing": "*"}, False),
        ({"/data/kind": "nps", "/data/score": 8}, False),
        ({}, True),
    ],
)
def test_where_names_fields_that_must_have_these_values(where: JsonObject, matches: bool) -> None:
    body = {"type": "survey.answered", "data": {"id": 1, "kind": "nps", "score": 9, "done": True}}
    assert (reading(body, [{"type": "survey.*", "where": where}]).rule is not None) == matches


def test_the_first_rule_that_matches_decides_before_the_catalogue() -> None:
    body = {"type": "price.updated", "data": {"id": 1}}
    rules = [
        {"type": "price.*", "where": {"/data/id": 2}, "event_type": "first.one"},
        {"type": "price.updated", "event_type": "second.one", "id": "/data/id"},
        {"type": "*", "ignore": True},
    ]
    assert reading(body, rules).events[0].type == "second.one"
    assert list(reading({"type": "other", "data": {}}, rules).events) == []


def test_a_rule_that_ignores_stores_nothing() -> None:
    found = reading({"type": "noise", "data": {}}, [{"type": "noise", "ignore": True}])
    assert found.rule is not None
    assert list(found.events) == []


BODY: JsonObject = {
    "type": "survey.answered",
    "store": 3,
    "data": {"id": "r-1", "part": 2, "at": ISO, "rev": 7, "noun": "Reply/Long", "verb": "remove", "item": {"a": 1}},
}


def test_what_a_rule_leaves_out_has_a_default() -> None:
    event = one(BODY, {"id": "/data/id"})
    assert (event.type, event.entity_type, event.entity_id) == ("survey.answered", "survey", "r-1")
    assert (event.operation, event.version, event.data_pointer) == (Operation.UPDATE, None, "/data")
    assert (event.fact, event.state, event.completeness) == (None, True, Completeness.COMPLETE)
    assert event.payload == BODY


@pytest.mark.parametrize(
    ("rule", "field", "value"),
    [
        ({"event_type": "reply.kept"}, "type", "reply.kept"),
        ({"event_type": "Reply.kept"}, "entity_type", "reply"),
        ({"entity_type": "Reply"}, "entity_type", "reply"),
        ({"entity_type": "/data/noun"}, "entity_type", "reply.long"),
        ({"entity_pointer": "/data/noun"}, "entity_type", "reply.long"),
        ({"id_pointer": "/data/part"}, "entity_id", "2"),
        ({"id": ["/store", "/data/id", "/data/part"]}, "entity_id", "3/r-1/2"),
        ({"operation": "create"}, "operation", Operation.CREATE),
        ({"operation": "delete"}, "operation", Operation.DELETE),
        ({"operation": "/data/verb"}, "operation", Operation.DELETE),
        ({"operation_pointer": "/data/verb"}, "operation", Operation.DELETE),
        ({"event_type": "reply.created"}, "operation", Operation.CREATE),
        ({"event_type": "reply.deleted"}, "operation", Operation.DELETE),
        ({"data": "/data/item"}, "data_pointer", "/data/item"),
        ({"data_pointer": ""}, "data_pointer", ""),
        ({"completeness": "difference"}, "completeness", Completeness.DIFFERENCE),
        ({"completeness": "partial"}, "completeness", Completeness.PARTIAL),
    ],
)
def test_a_rule_says_what_an_event_is(rule: JsonObject, field: str, value: Any) -> None:
    assert getattr(one(BODY, {"id": "/data/id"} | rule if "id_pointer" not in rule else rule), field) == value


@pytest.mark.parametrize(
    ("rule", "text", "clock"),
    [
        ({"version": "/data/at"}, ISO, Clock.TIME),
        ({"version_pointer": "/data/rev"}, "7", Clock.TIME),
        ({"version": "/data/rev", "clock": "counter"}, "7", Clock.COUNTER),
    ],
)
def test_a_version_is_on_the_clock_that_the_rule_names(rule: JsonObject, text: str, clock: Clock) -> None:
    version = one(BODY, {"id": "/data/id", **rule}).version
    assert version is not None
    assert (version.text, version.clock) == (text, clock)


def test_a_version_that_is_not_there_is_the_deliverys() -> None:
    body = {"type": "charge.failed", "created": 5, "data": {"object": {"id": "ch_1", "at": None, "on": ""}}}
    for rule in ({}, {"version": "/data/object/at"}, {"version": "/data/object/on"}, {"version": "/data/object/off"}):
        version = one(body, {"id": "/data/object/id", **rule}, vendor="stripe").version
        assert version is not None
        assert version.text == "5"
    with pytest.raises(FieldInvalid, match=r"^/data/object/at is missing \(the rule for \*\)$"):
        one(body, {"id": "/data/object/id", "version": "/data/object/at", "clock": "counter"}, vendor="stripe")


@pytest.mark.parametrize(
    ("rule", "fact", "state"),
    [
        ({"id": "/data/id"}, None, True),
        ({"id": "/data/id", "as": "state"}, False, True),
        ({"id": "/data/id", "as": "fact"}, True, False),
        ({}, True, False),
        ({"as": "fact"}, True, False),
        ({"as": "state"}, False, True),
    ],
)
def test_a_rule_says_whether_it_is_state_or_fact(rule: JsonObject, fact: bool | None, state: bool) -> None:
    event = one(BODY, rule)
    assert (event.fact, event.state) == (fact, state)
    assert event.entity_id == ("r-1" if "id" in rule else event.external_id)


def test_each_element_of_an_array_is_an_event_with_keys_of_its_own() -> None:
    body: Any = {
        "type": "rates.set",
        "list": 4,
        "rates": [
            {"sku": "a", "at": 1, "gone": "changed"},
            {"sku": "b", "at": 2, "gone": "deleted"},
            {"sku": "a", "at": 3},
        ],
    }
    rule: JsonObject = {
        "type": "rates.set",
        "each": "/rates",
        "id": "/sku",
        "event_type": "rate.set",
        "version": "/at",
    }
    found = reading(body, [rule]).events
    assert [(event.entity_id, event.data_pointer) for event in found] == [
        ("a", "/rates/0"),
        ("b", "/rates/0"),
        ("a", "/rates/0"),
    ]
    assert [event.version and event.version.text for event in found] == ["1", "2", "3"]
    assert len({event.external_id for event in found}) == len(found)
    assert [str(event.sequence) for event in found] == ["None", "None", "1"]
    assert [event.payload for event in found] == [{**body, "rates": [rate]} for rate in body["rates"]]
    with pytest.raises(FieldInvalid, match=r"^/rates/2/gone is missing$"):
        reading(body, [{**rule, "operation": "/gone"}])
    with pytest.raises(FieldInvalid, match=r"^/rates/0/list is missing$"):
        reading(body, [{**rule, "id": ["/sku", "/list"]}])


def test_elements_of_other_types_under_one_id_are_other_events() -> None:
    body = {"type": "sync", "all": [{"kind": "price", "id": 1}, {"kind": "page", "id": 1}]}
    rule: JsonObject = {"type": "sync", "each": "/all", "id": "/id", "entity_type": "/kind"}
    found = reading(body, [rule]).events
    assert [event.entity_type for event in found] == ["price", "page"]
    assert len({event.external_id for event in found}) == len(found)


@pytest.mark.parametrize("held", [None, [], {}, "x", [{}] * (MOST_EACH + 1)])
def test_each_needs_an_array_with_something_in_it_and_not_too_much(held: Any) -> None:
    with pytest.raises(FieldInvalid, match=r"^/rows "):
        reading({"type": "a.b", "rows": held}, [{"type": "*", "each": "/rows"}])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"id": "/data/none"}, "^/data/none is missing$"),
        ({"id": ["/data/id", "/data/none"]}, "^/data/none is missing$"),
        ({"id": "/data/item"}, "^/data/item must be text or an integer$"),
        ({"id": "/data/id", "entity_type": "/data/part"}, "^/data/part must be text$"),
        ({"id": "/data/id", "operation": "/data/part"}, "^/data/part must be text$"),
        ({"id": "/data/id", "operation": "/data/noun"}, "^/data/noun is none of create, update and delete$"),
        ({"id": "/data/id", "version": "/data/noun"}, "^/data/noun isn't an RFC 3339 timestamp$"),
        ({"id": "/data/id", "data": "/data/none"}, r"^/data/none isn't an object \(the rule for \*\)$"),
    ],
)
def test_what_a_rule_points_to_must_be_there_and_is_named(rule: JsonObject, message: str) -> None:
    with pytest.raises(FieldInvalid, match=message):
        one(BODY, rule)


def test_a_delete_may_come_without_its_object() -> None:
    assert one(BODY, {"id": "/data/id", "operation": "delete", "data": "/data/none"}).data_pointer == "/data/none"


def test_a_composed_id_has_a_limit_too() -> None:
    with pytest.raises(FieldInvalid, match="500 bytes"):
        one({"type": "a.b", "data": {"x": "x" * 300}}, {"id": ["/data/x", "/data/x"]})


def test_an_unsigned_type_deletes_by_a_rule_only_where_the_rule_says_so() -> None:
    headers, body = {"x-type": "a.deleted"}, {"data": {"id": 1}}
    with pytest.raises(FieldInvalid, match=r"isn't signed: the rule for . needs an operation"):
        one(body, {"id": "/data/id"}, headers, type_header="x-type")
    for rule, options in (({"operation": "delete"}, {}), ({}, {"trust_type_header": True})):
        event = one(body, {"id": "/data/id", **rule}, headers, type_header="x-type", **options)
        assert event.operation is Operation.DELETE


def test_whether_ids_come_again_is_the_sources_to_say() -> None:
    assert not one(BODY, {"id": "/data/id", "operation": "delete"}).reuses_ids
    assert one(BODY, {"id": "/data/id", "operation": "delete"}, reuses_ids=True).reuses_ids
    assert one(BODY, {"id": "/data/id", "operation": "delete"}, vendor="woocommerce").reuses_ids


def test_a_topic_that_is_no_label_is_brought_to_one() -> None:
    assert one({"type": "Größe/geändert", "data": {}}, {}).type == "Gr-xC3-xB6-xC3-x9Fe.ge-xC3-xA4ndert"
    with pytest.raises(FieldInvalid, match=r"^the topic is missing$"):
        one({"type": 5, "data": {}}, {})
    assert one({"type": 5, "data": {}}, {"event_type": "odd.one"}).type == "odd.one"
