"""Store: once per key, whole groups at a time, and nothing verified under an older source."""

import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from app.db.engine import transaction
from app.db.pipeline import pipelined_transaction
from app.errors import Permanent
from app.events.incoming import Clock, Operation, Version
from app.inbox.store import EntangledKeys, Stored, StoreResult, store
from app.models import Lane, Outcome, Status
from app.sources import configured
from tests.support.factories import Inbox, incoming, whsec


def test_a_new_event_waits_in_its_lane_and_may_be_published(inbox: Inbox) -> None:
    (stored,) = inbox.accept(incoming("price.updated"))
    assert (stored.kept, stored.status, stored.lane, stored.publish) == (
        StoreResult.NEW,
        Status.PENDING,
        Lane.HIGH,
        True,
    )
    assert inbox.event(stored.id).dispatched_at is not None


def test_an_event_of_a_closed_lane_waits_for_the_dispatcher(inbox: Inbox) -> None:
    inbox.sql("UPDATE lane SET open = false")
    (stored,) = inbox.accept(incoming())
    assert not stored.publish
    assert inbox.event(stored.id).dispatched_at is None


def test_the_same_key_with_the_same_body_is_a_duplicate_of_the_first(inbox: Inbox) -> None:
    event = incoming()
    (first,) = inbox.accept(event)
    (again,) = inbox.accept(event)
    assert (again.kept, again.id, again.lane) == (StoreResult.DUPLICATE, first.id, Lane.HIGH)


def test_copies_in_one_group_are_one_event(inbox: Inbox) -> None:
    event = incoming()
    kept = [stored.kept for stored in inbox.accept(event, event, incoming(), event)]
    assert sorted(kept, key=str) == sorted(
        [StoreResult.NEW, StoreResult.DUPLICATE, StoreResult.NEW, StoreResult.DUPLICATE], key=str
    )
    assert inbox.sql("SELECT count(*) FROM event") == [(2,)]


def test_the_same_key_with_another_body_is_a_conflict_that_is_kept(inbox: Inbox) -> None:
    event = incoming()
    (first,) = inbox.accept(event)
    other = replace(event, payload={**event.payload, "note": "another"})
    for _ in range(2):
        (conflict,) = inbox.accept(other)
        assert (conflict.kept, conflict.id) == (StoreResult.CONFLICT, first.id)
    assert inbox.sql("SELECT event_id, payload LIKE '%another%' FROM event_conflict") == [(first.id, True)]


def test_delivery_fields_make_no_conflict(inbox: Inbox) -> None:
    event = replace(incoming(), delivery_fields=("attempt",))
    inbox.accept(replace(event, payload={**event.payload, "attempt": 1}))
    (again,) = inbox.accept(replace(event, payload={**event.payload, "attempt": 2}))
    assert again.kept is StoreResult.DUPLICATE


def test_a_known_content_under_a_new_key_is_a_duplicate_and_so_is_its_key_from_then_on(inbox: Inbox) -> None:
    event = replace(incoming(), content_key="content")
    (first,) = inbox.accept(event)
    renamed = replace(event, external_id="msg_new", payload={**event.payload, "id": "new"})
    (again,) = inbox.accept(renamed)
    assert (again.kept, again.id) == (StoreResult.DUPLICATE, first.id)
    (third,) = inbox.accept(replace(renamed, content_key=None))
    assert (third.kept, third.id) == (StoreResult.DUPLICATE, first.id)
    assert inbox.sql("SELECT count(*) FROM event") == [(1,)]


def test_a_duplicate_is_known_when_its_event_has_been_purged(inbox: Inbox) -> None:
    event = incoming()
    (first,) = inbox.accept(event)
    inbox.sql("DELETE FROM event")
    (again,) = inbox.accept(event)
    assert (again.kept, again.id, again.status) == (StoreResult.DUPLICATE, first.id, Status.COMPLETED)


def test_two_sources_may_use_the_same_key(inbox: Inbox) -> None:
    event = incoming()
    inbox.accept(event)
    with transaction(inbox.engine) as session:
        other = configured.add(session, inbox.vault, "other", "standard", whsec(), {})
        session.refresh(other)
        (stored,) = store(session, [replace(inbox.prepared(event), source_id=other.id, revision=other.revision)])
    assert stored.kept is StoreResult.NEW


def test_an_event_verified_under_an_older_source_is_not_stored(inbox: Inbox) -> None:
    prepared = inbox.prepared(incoming())
    with transaction(inbox.engine) as session:
        configured.rotate_secret(session, inbox.vault, "shop", whsec(), timedelta(0))
    with transaction(inbox.engine) as session:
        (stored,) = store(session, [prepared])
    assert stored.kept is StoreResult.SOURCE_CHANGED
    assert inbox.sql("SELECT count(*) FROM event_key") == [(0,)]


def test_a_version_beyond_the_allowed_skew_is_quarantined(inbox: Inbox) -> None:
    early, late = incoming(version=1_300), incoming(version=1_301)
    (near,) = inbox.accept(early, received_at=1_000.0)
    (far,) = inbox.accept(late, received_at=1_000.0)
    assert near.status is Status.PENDING
    assert (far.status, far.outcome, far.publish) == (Status.FAILED, Outcome.QUARANTINED, False)
    assert inbox.event(far.id).error is not None


def test_a_counter_is_never_in_the_future(inbox: Inbox) -> None:
    counted = replace(incoming(), version=Version(Decimal(10**12), "1000000000000", Clock.COUNTER))
    assert inbox.accept(counted, received_at=1_000.0)[0].status is Status.PENDING


def test_a_delete_without_a_version_counts_from_its_arrival_and_is_final_unless_ids_are_reused(inbox: Inbox) -> None:
    bare = replace(incoming("price.deleted", version=None), operation=Operation.DELETE)
    final = inbox.prepared(bare, received_at=1_234.5)
    assert (final.version, final.final) == (Decimal("1234.5"), True)
    assert not inbox.prepared(replace(bare, reuses_ids=True)).final


def test_every_digit_of_the_payload_and_its_version_is_kept(inbox: Inbox) -> None:
    exact = {"id": 9007199254740993, "amount": Decimal("19.990000000000000001"), "nul": "a\x00b"}
    version = Version(Decimal("1700000000.123456789"), "2023-11-14T22:13:20.123456789Z")
    (stored,) = inbox.accept(replace(incoming(data=exact), version=version))
    event = inbox.event(stored.id)
    assert '"amount":19.990000000000000001,"id":9007199254740993,"nul":"a\\u0000b"' in event.payload
    assert event.version == Decimal("1700000000.123456789")


def test_a_group_that_the_database_refuses_keeps_nothing(inbox: Inbox) -> None:
    with pytest.raises(Permanent), transaction(inbox.engine) as session:
        store(session, [inbox.prepared(incoming()), replace(inbox.prepared(incoming()), version=Decimal("1e200000"))])
    assert inbox.sql("SELECT count(*) FROM event") == inbox.sql("SELECT count(*) FROM event_key") == [(0,)]


def test_concurrent_groups_of_the_same_events_store_each_once(inbox: Inbox) -> None:
    events = [replace(incoming(), content_key=f"content {number}") for number in range(30)]
    answers: list[list[Stored]] = []
    start = threading.Barrier(4)

    def deliver(shift: int) -> None:
        start.wait()
        answers.append(inbox.accept(*events[shift:], *events[:shift]))

    threads = [threading.Thread(target=deliver, args=(shift,)) for shift in (0, 7, 14, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [stored.kept for answer in answers for stored in answer]
    assert (kept.count(StoreResult.NEW), kept.count(StoreResult.DUPLICATE)) == (30, 90)
    assert inbox.sql("SELECT count(*) FROM event") == [(30,)]


def test_a_commit_whose_answer_was_lost_is_known_when_it_is_tried_again(inbox: Inbox) -> None:
    prepared = inbox.prepared(incoming())
    answers = []
    for _ in range(2):
        with pipelined_transaction(inbox.engine) as session:
            answers += store(session, [prepared])
    assert [answer.kept for answer in answers] == [StoreResult.NEW, StoreResult.NEW]
    assert answers[1].publish
    assert inbox.sql("SELECT count(*) FROM event") == [(1,)]


def test_a_conflict_keeps_no_key_of_its_own_content(inbox: Inbox) -> None:
    first = replace(incoming(), external_id="one", content_key="first content")
    other = replace(incoming(data={"n": 2}), external_id="one", content_key="other content")
    inbox.accept(first)
    assert inbox.accept(other)[0].kept is StoreResult.CONFLICT
    assert inbox.accept(replace(other, external_id="two"))[0].kept is StoreResult.NEW


def test_events_of_one_group_that_need_each_others_keys_are_left_to_be_stored_singly(inbox: Inbox) -> None:
    second = replace(incoming(data={"n": 2}), external_id="one", content_key="content 2")
    third = replace(second, external_id="two")
    prepared = [inbox.prepared(event) for event in (replace(incoming(), external_id="one"), second, third)]
    ids = sorted(event.id for event in prepared)
    a, b, c = (replace(event, id=event_id) for event, event_id in zip(prepared, ids, strict=True))
    with pytest.raises(EntangledKeys), pipelined_transaction(inbox.engine) as session:
        store(session, [c, b, a])
    answers = []
    for event in (c, b, a):
        with pipelined_transaction(inbox.engine) as session:
            answers += store(session, [event])
    assert [answer.kept for answer in answers] == [StoreResult.NEW, StoreResult.DUPLICATE, StoreResult.CONFLICT]
    named = inbox.sql("SELECT count(*) FROM event_key k LEFT JOIN event e ON e.id = k.event_id WHERE e.id IS NULL")
    assert named == [(0,)]
