"""How the option ``mapping`` is written, checked and stored."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ConfigInvalid
from app.events.incoming import JsonObject
from app.sources import configured
from app.sources.kinds import KINDS
from app.sources.kinds.kind import Config, Delivery
from app.sources.kinds.mapping import MOST_RULES, Rule, rule_for, shown

HMAC = KINDS["hmac"]


def stored(config: Config) -> JsonObject:
    """Return a config's options as they are kept in the database and read again."""
    kept: JsonObject = json.loads(json.dumps(config.model_dump(mode="json", by_alias=True, exclude_unset=True)))
    return kept


RULE: JsonObject = {"type": "a.*", "id": "/data/id", "as": "fact"}


@pytest.mark.parametrize(
    "mapping",
    [
        [{"id": "/data/id"}],
        [{"type": ""}],
        [{"type": "a", "id": "data/id"}],
        [{"type": "a", "unknown": 1}],
        [{"type": "a", "ignore": True, "id": "/x"}],
        [{"type": "a", "operation": "upsert"}],
        [{"type": "a", "as": "both"}],
        [{"type": "a", "clock": "sundial"}],
        [{"type": "a", "completeness": "whole"}],
        [{"type": "a", "entity_type": "no label"}],
        [{"type": "a", "where": {"/x": 1.5}}],
        [{"type": "a", "where": {"/x": None}}],
        [{"type": "a"}] * (MOST_RULES + 1),
        {"a": "drop"},
        {"a": None},
        {"a": {"type": "b"}},
        "ignore",
        ["ignore"],
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(mapping: Any) -> None:
    with pytest.raises(ValueError, match="mapping"):
        HMAC.config.model_validate({"mapping": mapping})


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_takes_rules(name: str) -> None:
    config = KINDS[name].config.model_validate({"mapping": {"noise.*": "ignore", "a.*": {"id": "/x"}}})
    delivery = Delivery({}, "noise.loud", "noise.loud", "k")
    found = rule_for(config.mapping, delivery)
    assert found is not None
    assert found.ignore


GLOBS = st.lists(st.text("abc.*", min_size=1, max_size=5), unique=True, min_size=1, max_size=9)


@given(globs=GLOBS, topic=st.text("abc.", max_size=5))
def test_an_object_of_rules_keeps_its_order_also_when_it_is_stored(globs: list[str], topic: str) -> None:
    written = {glob: "ignore" if number % 2 else {"id": f"/id{number}"} for number, glob in enumerate(globs)}
    config = HMAC.config.model_validate({"mapping": written})
    assert [rule.type for rule in config.mapping] == globs
    again = HMAC.config.model_validate(stored(config))
    assert again == config
    delivery = Delivery({}, topic, topic, "k")
    assert rule_for(again.mapping, delivery) == rule_for(config.mapping, delivery)


@pytest.mark.parametrize(
    "rule",
    [
        RULE,
        {"type": "a", "ignore": True},
        {"type": "a", "where": {"/x": 1, "/y": "z*", "/w": False}},
        {"type": "a", "entity_pointer": "/noun", "id_pointer": "/id", "version_pointer": "/at", "data_pointer": ""},
        {"type": "a", "operation_pointer": "/verb", "clock": "counter", "completeness": "thin", "each": "/rows"},
        {"type": "a", "id": ["/a", "/b"], "as": "state", "event_type": "b.c", "entity_type": "d"},
    ],
)
def test_options_survive_being_stored(rule: JsonObject) -> None:
    config = HMAC.config.model_validate({"mapping": [rule], "header": "x-own"})
    kept = stored(config)
    assert set(kept) == {"mapping", "header"}
    again = HMAC.config.model_validate(kept)
    assert (again, again.model_fields_set) == (config, config.model_fields_set)
    assert stored(again) == kept
    assert Rule.model_validate(shown(config.mapping[0])) == config.mapping[0]


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (
            [RULE, {"type": "a", "id": "data/id"}],
            "mapping.2.id.1: must be a JSON pointer, such as /data/id, not 'data/id'",
        ),
        (
            [{"type": "a", "event_type": "no label"}],
            "mapping.1.event_type: must be a name of letters, digits and . _ -",
        ),
        ([{"type": "a", "clock": "sundial"}], "mapping.1.clock: Input should be 'time' or 'counter', not 'sundial'"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said_in_words_and_counted_from_1(mapping: Any, said: str) -> None:
    with pytest.raises(ConfigInvalid) as told:
        configured.check_config(HMAC, {"mapping": mapping})
    assert str(told.value).startswith(said)
