"""Event ids are UUIDv7: they say when, and never repeat."""

import time
import uuid

from app.inbox.ids import new_event_id


def test_an_id_is_a_uuid_of_version_7_that_holds_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = new_event_id()
    after = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert before <= made.int >> 80 <= after


def test_ids_differ() -> None:
    assert len({new_event_id() for _ in range(1000)}) == 1000
