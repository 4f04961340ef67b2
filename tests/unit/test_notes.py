"""Notes on an event can be stored, whatever a sender wrote."""

from dataclasses import replace

import pytest

from app.inbox.prepare import prepare
from app.models import Lane
from app.priority import Decision
from app.sources.kinds.adobe_io import _of_product
from tests.support.factories import incoming

LOW = Decision(Lane.LOW, 0, ())


@pytest.mark.parametrize("note", ["a\x00b", "a\ud800b", "x" * 100_000])
def test_a_note_can_be_stored_and_is_short(note: str) -> None:
    event = prepare(
        replace(incoming("price.updated", "1"), notes=(note,)),
        LOW,
        source_id=1,
        revision=0,
        received_at=0.0,
        skew_s=1.0,
    )
    assert event.history is not None
    (entry,) = event.history
    assert "\x00" not in entry["detail"]
    assert 0 < len(entry["detail"].encode()) <= 500


@pytest.mark.parametrize("store", ["\x00", "a secret", "y" * 100_000, 3])
def test_what_is_noted_of_a_store_view_holds_no_value_of_the_senders(store: object) -> None:
    _, (note,) = _of_product({"store_id": store})
    assert str(store) not in note
    assert len(note) < 200
