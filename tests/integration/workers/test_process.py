"""What a worker does with a pointer: lock, claim, apply, and end the event exactly once."""

import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.coordination.entity_locks import LockResult
from app.db.engine import transaction
from app.db.pipeline import pipelined_transaction
from app.errors import ClaimLost, Permanent
from app.events.incoming import JsonObject
from app.handlers import HANDLERS
from app.handlers.apply import apply
from app.handlers.registry import Handler
from app.inbox import due, finish
from app.inbox.claim import Claim, claim
from app.messaging.pointer import Pointer
from app.models import Event, Outcome, Price, Status
from app.resources import Resources
from tasks.batch_size import Pace
from tasks.process import process, process_pointers
from tests.support.factories import Inbox, incoming
from tests.support.waiting import wait_until


def run(resources: Resources, inbox: Inbox, pointer: Pointer) -> Event:
    process(resources, [pointer])
    return inbox.event(pointer.event_id)


def outcome(resources: Resources, inbox: Inbox, *events: object) -> list[Outcome | None]:
    """Store and process events one after another; return the outcome of each."""
    return [run(resources, inbox, inbox.pointer(event)).outcome for event in events]  # type: ignore[arg-type]


def test_an_event_becomes_its_entity_and_its_typed_row(resources: Resources, inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming(data={"id": "sku-1", "amount": "19.90", "currency": "eur", "sku": "X"}))
    event = run(resources, inbox, pointer)
    assert (event.status, event.outcome, event.attempts) == (Status.COMPLETED, Outcome.APPLIED, 1)
    assert inbox.data() == '{"amount":"19.90","currency":"eur","id":"sku-1","sku":"X"}'
    with Session(inbox.engine) as session:
        price = session.query(Price).one()
        assert (price.amount, price.currency, price.sku, price.version) == (
            Decimal("19.90"),
            "EUR",
            "X",
            Decimal(1000),
        )


def test_a_message_is_a_list_of_pairs_and_anything_else_is_refused(resources: Resources, inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming())
    process_pointers(resources, [[str(pointer.event_id), 0]], None, Pace())
    assert inbox.event(pointer.event_id).outcome is Outcome.APPLIED
    with pytest.raises(ValueError, match="badly formed"):
        process_pointers(resources, [["not an id", 0]], None, Pace())


def test_a_pointer_that_comes_twice_does_nothing_the_second_time(resources: Resources, inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming())
    finished_at = run(resources, inbox, pointer).finished_at
    again = run(resources, inbox, pointer)
    assert (again.attempts, again.finished_at) == (1, finished_at)


def test_a_pointer_of_another_generation_or_of_no_event_does_nothing(resources: Resources, inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming())
    assert run(resources, inbox, replace(pointer, generation=7)).status is Status.PENDING
    inbox.sql("UPDATE event SET generation = 1")
    assert run(resources, inbox, pointer).status is Status.PENDING
    process(resources, [Pointer(uuid.uuid4(), 0)])


def test_an_event_that_is_not_due_yet_waits(resources: Resources, inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming())
    inbox.sql("UPDATE event SET due_at = now() + interval '1 hour'")
    assert run(resources, inbox, pointer).status is Status.PENDING


def test_elastic_path_updated_before_created(resources: Resources, inbox: Inbox) -> None:
    updated, created = incoming("product.updated", version=20), incoming("product.created", version=10)
    assert outcome(resources, inbox, updated, created) == [Outcome.APPLIED, Outcome.STALE]


def test_elastic_path_created_updated_deleted(resources: Resources, inbox: Inbox) -> None:
    created, updated = incoming("product.created", version=10), incoming("product.updated", version=20, data={"n": 2})
    deleted = incoming("product.deleted", version=None)
    assert outcome(resources, inbox, created, updated, deleted) == [Outcome.APPLIED] * 3
    assert inbox.data(entity_type="product") is None


def test_elastic_path_deleted_first(resources: Resources, inbox: Inbox) -> None:
    deleted = incoming("product.deleted", version=None)
    created, updated = incoming("product.created", version=10), incoming("product.updated", version=20)
    ends = outcome(resources, inbox, deleted, created, updated)
    assert ends == [Outcome.APPLIED, Outcome.TOMBSTONED, Outcome.TOMBSTONED]
    assert inbox.data(entity_type="product") is None


def test_a_delete_with_a_version_can_be_lifted_by_a_newer_save_only(resources: Resources, inbox: Inbox) -> None:
    events = [incoming("price.deleted", version=20), incoming(version=10), incoming(version=30)]
    assert outcome(resources, inbox, *events) == [Outcome.APPLIED, Outcome.TOMBSTONED, Outcome.APPLIED]
    assert inbox.data() is not None


def test_milliseconds_and_nanoseconds_order(resources: Resources, inbox: Inbox) -> None:
    newer, older = incoming(version=Decimal("10.000000002")), incoming(version=Decimal("10.000000001"))
    assert outcome(resources, inbox, newer, older) == [Outcome.APPLIED, Outcome.STALE]


def test_unchanged_content_advances_the_version(resources: Resources, inbox: Inbox) -> None:
    assert outcome(resources, inbox, incoming(version=10), incoming(version=30)) == [
        Outcome.APPLIED,
        Outcome.UNCHANGED,
    ]
    entity = inbox.entity()
    assert entity is not None
    assert entity.version == 30
    assert inbox.sql("SELECT version FROM price") == [(30,)]


def test_a_tie_is_recorded_and_ends_the_same_in_either_order(resources: Resources, inbox: Inbox) -> None:
    events = [incoming(data={"id": 1, "n": number}) for number in (1, 2)]
    one, two = sorted(events, key=lambda event: inbox.prepared(event).fingerprint)
    pointers = [inbox.pointer(one), inbox.pointer(two)]
    inbox.sql("UPDATE event SET due_at = now() + interval '1 hour' WHERE id = :id", id=pointers[1].event_id)
    assert run(resources, inbox, pointers[0]).outcome is Outcome.APPLIED
    inbox.sql("UPDATE event SET due_at = now()")
    tied = run(resources, inbox, pointers[1])
    assert {"step": "tie", "with": str(pointers[0].event_id)} in tied.history
    first = inbox.data()
    swapped = [replace(event, entity_id="sku-2", external_id=f"swapped {event.external_id}") for event in (two, one)]
    assert outcome(resources, inbox, *swapped) == [Outcome.APPLIED, Outcome.STALE]
    assert inbox.data("sku-2") == first


def test_a_claim_takes_the_newest_waiting_event_and_supersedes_the_older_ones(
    resources: Resources, inbox: Inbox
) -> None:
    pointers = [inbox.pointer(incoming(version=version, data={"n": version})) for version in (10, 30, 20)]
    process(resources, [pointers[0]])
    ends = [inbox.event(pointer.event_id) for pointer in pointers]
    assert [end.outcome for end in ends] == [Outcome.SUPERSEDED, Outcome.APPLIED, Outcome.SUPERSEDED]
    assert [end.attempts for end in ends] == [0, 1, 0]
    assert ends[0].history == [{"step": "ended with a newer one", "by": str(pointers[1].event_id), "tie": False}]
    process(resources, [pointers[1]])
    assert inbox.data() == '{"n":30}'


def test_what_is_older_than_a_stale_event_ends_with_it(resources: Resources, inbox: Inbox) -> None:
    outcome(resources, inbox, incoming(version=9))
    pointers = [inbox.pointer(incoming(version=version, data={"n": version})) for version in (3, 5)]
    process(resources, [pointers[0]])
    assert [inbox.event(pointer.event_id).outcome for pointer in pointers] == [Outcome.STALE, Outcome.STALE]


def test_what_is_older_than_a_tombstoned_event_ends_with_it(resources: Resources, inbox: Inbox) -> None:
    outcome(resources, inbox, incoming("price.deleted", version=9))
    types = {3: "price.deleted", 4: "price.updated", 5: "price.updated"}
    pointers = [inbox.pointer(incoming(name, version=version)) for version, name in types.items()]
    process(resources, [pointers[0]])
    ends = [inbox.event(pointer.event_id).outcome for pointer in pointers]
    assert ends == [Outcome.STALE, Outcome.TOMBSTONED, Outcome.TOMBSTONED]


def test_a_final_delete_that_waits_with_a_newer_save_goes_first_and_wins(resources: Resources, inbox: Inbox) -> None:
    deleted = inbox.pointer(incoming("price.deleted", version=None))
    newer = inbox.pointer(incoming(version=10**10))
    inbox.sql("UPDATE event SET status = 0, outcome = NULL")
    process(resources, [newer])
    assert inbox.event(deleted.event_id).outcome is Outcome.APPLIED
    assert inbox.event(newer.event_id).dispatched_at is None
    assert run(resources, inbox, newer).outcome is Outcome.TOMBSTONED


def test_a_final_delete_that_waits_for_its_retry_is_not_ended_by_a_newer_save(
    resources: Resources, inbox: Inbox
) -> None:
    deleted = inbox.pointer(incoming("price.deleted", version=None))
    inbox.sql("UPDATE event SET due_at = now() + interval '1 hour'")
    newer = inbox.pointer(incoming(version=10**10))
    inbox.sql("UPDATE event SET status = 0, outcome = NULL WHERE id = :id", id=newer.event_id)
    assert run(resources, inbox, newer).outcome is Outcome.APPLIED
    assert inbox.event(deleted.event_id).status is Status.PENDING
    inbox.sql("UPDATE event SET due_at = now()")
    assert run(resources, inbox, deleted).outcome is Outcome.APPLIED
    assert inbox.data() is None


def test_a_pointer_spent_on_another_event_that_fails_leaves_its_own_to_the_dispatcher(
    resources: Resources, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = (inbox.pointer(incoming(version=version)) for version in (1, 2))
    monkeypatch.setitem(HANDLERS, "price", failing(Permanent("never")))
    assert run(resources, inbox, older).dispatched_at is None
    assert inbox.event(newer.event_id).outcome is Outcome.DEAD


def test_facts_happen_exactly_once_each_and_are_never_stale_or_superseded(resources: Resources, inbox: Inbox) -> None:
    paid, refunded = incoming("order.paid", version=10), incoming("order.refunded", version=20, data={"n": 2})
    late, early = inbox.pointer(refunded), inbox.pointer(paid)
    assert run(resources, inbox, late).outcome is Outcome.APPLIED
    assert run(resources, inbox, early).outcome is Outcome.APPLIED
    assert inbox.data(entity_type="order") == '{"n":2}'
    assert inbox.sql("SELECT type FROM fact ORDER BY type") == [("order.paid",), ("order.refunded",)]


def test_a_fact_counts_after_its_entity_was_deleted(resources: Resources, inbox: Inbox) -> None:
    ends = outcome(resources, inbox, incoming("order.deleted", version=None), incoming("order.paid", version=10))
    assert ends == [Outcome.APPLIED, Outcome.APPLIED]
    assert inbox.sql("SELECT count(*) FROM fact") == [(1,)]
    assert inbox.data(entity_type="order") is None


def test_each_lead_is_a_row_of_its_own(resources: Resources, inbox: Inbox) -> None:
    first = incoming("lead.captured", "7", 10, data={"email": "a@example.com", "campaign": "bf"})
    second = incoming("lead.captured", "7", 20, data={"email": "b@example.com"})
    outcome(resources, inbox, first, second, incoming("lead.deleted", "7", 30))
    leads = inbox.sql("SELECT email, campaign FROM lead ORDER BY email")
    assert leads == [("a@example.com", "bf"), ("b@example.com", None)]


def test_typed_rows_go_when_the_owner_is_deleted_or_no_longer_says_enough(resources: Resources, inbox: Inbox) -> None:
    event = run(resources, inbox, inbox.pointer(incoming(version=10)))
    assert event.history == []
    assert inbox.sql("SELECT count(*) FROM price") == [(1,)]
    poor = run(resources, inbox, inbox.pointer(incoming(version=20, data={"id": "sku-1", "amount": "many"})))
    assert poor.outcome is Outcome.APPLIED
    assert poor.history == [{"step": "not projected", "detail": "amount isn't a number"}]
    assert inbox.sql("SELECT count(*) FROM price") == [(0,)]
    outcome(resources, inbox, incoming(version=30), incoming("price.deleted", version=40))
    assert inbox.sql("SELECT count(*) FROM price") == [(0,)]


def test_what_a_row_leaves_out_stands_on_its_events_timeline(resources: Resources, inbox: Inbox) -> None:
    told = incoming("coupon.updated", "c", 10, data={"code": "FOGHORN", "expiration_date": "soon"})
    event = run(resources, inbox, inbox.pointer(told))
    assert event.outcome is Outcome.APPLIED
    assert event.history == [{"step": "note", "detail": "expiration_date isn't a time: it was left out"}]
    assert inbox.sql("SELECT code, ends_at FROM promotion") == [("FOGHORN", None)]


def test_a_busy_entity_parks_its_event_and_the_holder_dispatches_it_again(resources: Resources, inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming())
    key = f"{inbox.source.id}/price/sku-1"
    held, lock = resources.locks.acquire(key)
    assert held is LockResult.LOCKED
    parked = run(resources, inbox, pointer)
    assert (parked.status, parked.attempts) == (Status.PENDING, 0)
    assert parked.parked_at is not None
    assert resources.locks.release(lock)
    newer = inbox.pointer(incoming(version=5, entity_id="sku-1", data={"n": 1}))
    done = run(resources, inbox, newer)
    assert done.outcome is Outcome.SUPERSEDED
    assert inbox.event(pointer.event_id).outcome is Outcome.APPLIED


def test_parked_facts_are_dispatched_after_the_release(resources: Resources, inbox: Inbox) -> None:
    first, second = (inbox.pointer(incoming("order.paid", version=version)) for version in (1, 2))
    inbox.sql("UPDATE event SET parked_at = now(), dispatched_at = NULL WHERE id = :id", id=first.event_id)
    resources.locks.mark_parked(f"{inbox.source.id}/order/sku-1")
    run(resources, inbox, second)
    unparked = inbox.event(first.event_id)
    assert unparked.parked_at is None
    assert unparked.dispatched_at is not None


def test_without_redis_the_answer_is_the_same(resources: Resources, inbox: Inbox) -> None:
    gone = replace(resources, locks=type(resources.locks)("redis://127.0.0.1:1/0", ttl_s=1, wait_s=0.02))
    assert outcome(gone, inbox, incoming(version=10), incoming(version=5)) == [Outcome.APPLIED, Outcome.STALE]


def failing(error: Exception) -> Handler:
    def rows(_data: JsonObject) -> list[dict[str, object]]:
        raise error

    return Handler(Price, rows)


def test_a_handler_that_fails_is_retried_later_with_its_reason(
    resources: Resources, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HANDLERS, "price", failing(RuntimeError("the shop is closed")))
    event = run(resources, inbox, inbox.pointer(incoming()))
    assert (event.status, event.attempts, event.dispatched_at) == (Status.PENDING, 1, None)
    assert event.error is not None
    assert "the shop is closed" in event.error
    assert event.due_at > event.received_at
    assert event.history[0]["step"] == "retry"
    assert inbox.entity() is None


def test_the_last_attempt_ends_dead_and_a_replay_starts_over(
    resources: Resources, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = inbox.pointer(incoming())
    with monkeypatch.context() as patched:
        patched.setitem(HANDLERS, "price", failing(RuntimeError("the shop is closed")))
        inbox.sql("UPDATE event SET attempts = :n", n=resources.settings.max_attempts - 1)
        event = run(resources, inbox, pointer)
    assert (event.status, event.outcome) == (Status.FAILED, Outcome.DEAD)
    assert event.error is not None
    assert "the shop is closed" in event.error


def test_an_event_whose_worker_died_at_every_attempt_is_dead(resources: Resources, inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming())
    inbox.sql("UPDATE event SET attempts = :n", n=resources.settings.max_attempts)
    assert run(resources, inbox, pointer).outcome is Outcome.DEAD


def test_a_locked_row_is_busy_and_costs_no_attempt(resources: Resources, inbox: Inbox) -> None:
    outcome(resources, inbox, incoming(version=1))
    pointer = inbox.pointer(incoming(version=2, data={"n": 2}))
    with inbox.engine.begin() as holder:
        holder.execute(text("SELECT * FROM entity FOR UPDATE"))
        event = run(resources, inbox, pointer)
    assert (event.status, event.attempts) == (Status.PENDING, 0)
    inbox.sql("UPDATE event SET due_at = now()")
    assert run(resources, inbox, pointer).outcome is Outcome.APPLIED


def claimed(resources: Resources, *pointers: Pointer, lease_s: float = 10.0, counted: bool = True) -> Claim:
    made = Claim(tuple(pointer.event_id for pointer in pointers), uuid.uuid4(), counted)
    with pipelined_transaction(resources.engine) as session:
        claim(session, made, lease_s)
        finish.fence(session, made)
    return made


def test_a_frozen_worker_that_wakes_up_changes_nothing(resources: Resources, inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming())
    frozen = claimed(resources, pointer, lease_s=0)
    with transaction(resources.engine) as session:
        assert due.expire_leases(session, 8).total() == 1
    assert run(resources, inbox, pointer).outcome is Outcome.APPLIED
    with pytest.raises(ClaimLost), transaction(resources.engine) as session:
        finish.fence(session, frozen)
    with transaction(resources.engine) as session:
        assert not finish.finish(session, pointer.event_id, frozen.token, Outcome.DEAD)
        assert not finish.give_back(session, pointer.event_id, frozen.token, wait_s=0)
    assert inbox.event(pointer.event_id).outcome is Outcome.APPLIED


def test_a_lease_is_not_taken_from_a_worker_that_still_works(resources: Resources, inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming())
    slow = claimed(resources, pointer, lease_s=0)
    with transaction(resources.engine) as working:
        finish.fence(working, slow)
        with transaction(resources.engine) as session:
            assert due.expire_leases(session, 8).total() == 0
    with transaction(resources.engine) as session:
        assert due.expire_leases(session, 8).total() == 1


def test_an_event_whose_last_lease_expires_is_dead(resources: Resources, inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming())
    claimed(resources, pointer, lease_s=0)
    with transaction(resources.engine) as session:
        due.expire_leases(session, 1)
    event = inbox.event(pointer.event_id)
    assert (event.status, event.outcome) == (Status.FAILED, Outcome.DEAD)
    assert event.finished_at is not None


def test_two_claims_of_one_event_give_one(resources: Resources, inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming("order.paid"))
    start = threading.Barrier(4)
    won: list[Claim] = []

    def try_it() -> None:
        start.wait()
        with suppress(ClaimLost):
            won.append(claimed(resources, pointer))

    together(try_it, 4)
    assert len(won) == 1


def test_a_worker_that_read_an_older_row_never_writes_over_a_newer_one(resources: Resources, inbox: Inbox) -> None:
    outcome(resources, inbox, incoming("order.updated", version=1))
    older, newer = (inbox.pointer(incoming("order.paid", version=n, data={"n": n})) for n in (2, 3))
    slow = claimed(resources, older)
    quick = threading.Thread(target=process, args=(resources, [newer]))
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with pipelined_transaction(inbox.engine) as session:
        (fenced,) = finish.fence(session, slow)
        (applied,) = apply(session, [fenced])
        assert applied is not None
        quick.start()
        wait_until(lambda: inbox.sql(waits)[0][0] > 0 or not quick.is_alive())
        finish.finish_with_older(session, slow.token, [finish.Ended(fenced.event, applied)])
    quick.join()
    assert inbox.data(entity_type="order") == '{"n":3}'


def test_workers_at_once_on_one_entity_without_a_lock_leave_the_newest(resources: Resources, inbox: Inbox) -> None:
    gone = replace(resources, locks=type(resources.locks)("redis://127.0.0.1:1/0", ttl_s=1, wait_s=0.02))
    pointers = [inbox.pointer(incoming(version=version, data={"n": version})) for version in range(1, 13)]
    start = threading.Barrier(4)
    turn = iter(pointers)

    def drain() -> None:
        start.wait()
        for pointer in turn:
            process(gone, [pointer])

    together(drain, 4)
    for pointer in pointers:
        inbox.sql("UPDATE event SET due_at = now()")
        process(gone, [pointer])
    assert inbox.data() == '{"n":12}'
    assert {inbox.event(pointer.event_id).status for pointer in pointers} == {Status.COMPLETED}


def together(step: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=step) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_database_that_is_away_leaves_the_event_to_the_dispatcher(
    resources: Resources, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.attempt._HOLD_S", 0.1)
    pointer = inbox.pointer(incoming())
    away = Resources.open(
        resources.settings.model_copy(update={"database_url": "postgresql+psycopg2://127.0.0.1:1/none"})
    )
    process(away, [pointer])
    away.close()
    assert inbox.event(pointer.event_id).status is Status.PENDING
    assert datetime.now(UTC) > inbox.event(pointer.event_id).received_at
