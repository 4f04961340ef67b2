"""The vendors' catalogues: each row is one that can be read, and the page says what they say."""

import re

import pytest

from app.events.incoming import Operation
from app.sources.kinds import fields
from app.sources.kinds.catalogue import Topic, catalogue, vendors
from deploy import catalogues

ROWS = [(vendor, topic) for vendor in vendors() for topic in catalogue(vendor).values()]
POINTER = re.compile(r"(/([^/~]|~[01])*)*")


def test_the_page_says_what_the_catalogues_say() -> None:
    assert catalogues.PAGE.read_text() == catalogues.markdown(), "run `make reference`"


@pytest.mark.parametrize(("vendor", "topic"), ROWS, ids=[f"{vendor} {topic.topic}" for vendor, topic in ROWS])
def test_a_row_names_what_an_event_can_have(vendor: str, topic: Topic) -> None:
    assert fields.label(topic.type, "type") == topic.type
    assert fields.label(topic.entity_type, "entity") == topic.entity_type == topic.entity_type.lower()
    pointers = [pointer for path in topic.id.paths for pointer in path if pointer != "topic"]
    for pointer in [*pointers, *topic.version, topic.data_pointer, topic.id.each or ""]:
        assert POINTER.fullmatch(pointer), pointer
    assert topic.id.is_event == (topic.id.written == "event")
    assert topic.operation in Operation
    assert not topic.counts or topic.version


def test_one_vendors_topics_of_one_entity_type_share_their_clock() -> None:
    for vendor in vendors():
        clocks: dict[str, set[bool]] = {}
        for topic in catalogue(vendor).values():
            if topic.operation is not Operation.DELETE and topic.state:
                clocks.setdefault(topic.entity_type, set()).add(topic.counts)
        assert {name: found for name, found in clocks.items() if len(found) > 1} == {}, vendor
