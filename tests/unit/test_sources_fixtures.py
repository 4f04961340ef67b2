"""Every JSON below tests/fixtures/<kind>/ is a delivery and what must become of it: drop one in and it is a test.

``expect`` names fields of the normal form, or of each event's where it is a list; ``unmapped`` is the reason why a
verified delivery can't be read, ``refused`` the error of one that isn't verified. ``body_base64`` stands in for what
isn't text, ``public_keys`` for what the receiver would fetch.
"""

from pathlib import Path

import pytest

from app.errors import BodyMalformed, FieldInvalid, Rejected
from app.events.canonical_json import dump, parse_object
from app.sources.kinds import KINDS
from tests.support.deliveries import FIXTURES, normal_form, receive

PATHS = sorted(FIXTURES.glob("*/*.json"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_delivery_becomes_what_its_fixture_says(path: Path) -> None:
    delivery = parse_object(path.read_bytes())
    if "refused" in delivery:
        with pytest.raises(Rejected) as raised:
            receive(path.parent.name, delivery)
        assert type(raised.value).__name__ == delivery["refused"]
        return
    if "unmapped" in delivery:
        with pytest.raises((BodyMalformed, FieldInvalid)) as unreadable:
            receive(path.parent.name, delivery)
        assert str(unreadable.value) == delivery["unmapped"]
        return
    events = receive(path.parent.name, delivery)
    expected = delivery["expect"] if isinstance(delivery["expect"], list) else [delivery["expect"]]
    assert len(events) == len(expected)
    for event, wanted in zip(events, expected, strict=True):
        got = normal_form(event)
        assert dump({name: got[name] for name in wanted}) == dump(wanted)
        assert got["source"] == "shop"


def test_every_kind_has_fixtures() -> None:
    assert {path.parent.name for path in PATHS} == set(KINDS)
