"""What a worker does with a message of several pointers: one claim, one transaction, and each event to itself."""

import threading
import uuid
from dataclasses import replace

import pytest
import structlog
from celery.exceptions import SoftTimeLimitExceeded
from structlog.testing import capture_logs

from app.coordination.entity_locks import LockResult
from app.db.pipeline import pipelined_transaction
from app.errors import ClaimLost
from app.events.incoming import JsonObject
from app.handlers import HANDLERS
from app.handlers.registry import Handler, NotProjectable
from app.inbox import claim, due, finish
from app.inbox.claim import Claim
from app.messaging.pointer import Pointer
from app.models import Outcome, Price, Status
from app.resources import Resources
from tasks.process import process
from tests.support.factories import Inbox, incoming


def ends(inbox: Inbox, *pointers: Pointer) -> list[Outcome | None]:
    return [inbox.event(pointer.event_id).outcome for pointer in pointers]


def test_a_message_of_many_is_applied_in_one_transaction(resources: Resources, inbox: Inbox) -> None:
    given = [
        *(incoming(entity_id=f"sku-{number}", version=10) for number in range(3)),
        incoming("lead.captured", "7", 10, data={"email": "a@example.com"}),
        incoming("lead.captured", "7", 20, data={"email": "b@example.com"}),
        incoming("promotion.created", "p", 10, data={"name": "half off"}),
        incoming("order.paid", "o", 10),
        incoming("product.deleted", "gone", None),
    ]
    pointers = [inbox.pointer(event) for event in given]
    process(resources, pointers)
    assert ends(inbox, *pointers) == [Outcome.APPLIED] * 8
    assert {inbox.event(pointer.event_id).attempts for pointer in pointers} == {1}
    assert inbox.sql("SELECT count(DISTINCT xmin::text) FROM event") == [(1,)]
    assert inbox.sql("SELECT count(*) FROM price") == [(3,)]
    assert inbox.sql("SELECT email FROM lead ORDER BY email") == [("a@example.com",), ("b@example.com",)]
    assert inbox.sql("SELECT name FROM promotion") == [("half off",)]
    assert inbox.sql("SELECT count(*) FROM fact") == [(3,)]
    assert inbox.data("gone", "product") is None


def test_a_second_message_meets_what_the_first_one_left(resources: Resources, inbox: Inbox) -> None:
    process(resources, [inbox.pointer(incoming(entity_id=sku, version=10)) for sku in ("a", "b", "c", "d")])
    given = [
        incoming(entity_id="a", version=20),
        incoming(entity_id="b", version=5),
        incoming("price.deleted", "c", 20),
        incoming(entity_id="d", version=20, data={"id": "d", "amount": "many"}),
        incoming(entity_id="e", version=1),
    ]
    pointers = [inbox.pointer(event) for event in given]
    process(resources, pointers)
    applied = Outcome.APPLIED
    assert ends(inbox, *pointers) == [Outcome.UNCHANGED, Outcome.STALE, applied, applied, applied]
    assert inbox.sql("SELECT entity_id, version FROM price ORDER BY 1") == [("a", 20), ("b", 10), ("e", 1)]
    assert inbox.event(pointers[3].event_id).history == [{"step": "not projected", "detail": "amount isn't a number"}]


def test_several_facts_of_one_entity_meet_it_one_after_another(resources: Resources, inbox: Inbox) -> None:
    given = [incoming("order.paid", version=version, data={"n": version}) for version in (30, 10, 20)]
    state = incoming("order.updated", version=25, data={"n": 25})
    pointers = [inbox.pointer(event) for event in (*given, state)]
    process(resources, pointers)
    assert ends(inbox, *pointers) == [Outcome.APPLIED] * 4
    assert inbox.data(entity_type="order") == '{"n":30}'
    assert inbox.sql("SELECT count(*) FROM fact") == [(3,)]


def test_older_events_of_an_entity_are_superseded_in_the_same_message(resources: Resources, inbox: Inbox) -> None:
    pointers = [inbox.pointer(incoming(version=version, data={"n": version})) for version in (10, 30, 20)]
    other = inbox.pointer(incoming(entity_id="other"))
    process(resources, [*pointers, other])
    superseded = Outcome.SUPERSEDED
    assert ends(inbox, *pointers, other) == [superseded, Outcome.APPLIED, superseded, Outcome.APPLIED]
    assert inbox.data() == '{"n":30}'


def test_a_message_that_comes_twice_does_nothing_the_second_time(resources: Resources, inbox: Inbox) -> None:
    pointers = [inbox.pointer(incoming("order.paid", f"{number}")) for number in range(4)]
    process(resources, pointers)
    before = inbox.sql("SELECT id, xmin::text FROM event ORDER BY id")
    process(resources, pointers)
    assert inbox.sql("SELECT id, xmin::text FROM event ORDER BY id") == before


def rows_but_for(bad: str, error: Exception) -> Handler:
    def rows(data: JsonObject) -> list[dict[str, object]]:
        if data["id"] == bad:
            raise error
        raise NotProjectable("not needed here")

    return Handler(Price, rows)


def test_one_bad_event_harms_only_itself(resources: Resources, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HANDLERS, "price", rows_but_for("bad", RuntimeError("a bug")))
    pointers = [inbox.pointer(incoming(entity_id=sku)) for sku in ("a", "bad", "z")]
    process(resources, pointers)
    bad = inbox.event(pointers[1].event_id)
    assert ends(inbox, *pointers) == [Outcome.APPLIED, None, Outcome.APPLIED]
    assert (bad.status, bad.attempts) == (Status.PENDING, 1)
    assert "a bug" in str(bad.error)


def test_each_line_about_an_event_names_it_and_none_is_said_of_what_went_well(
    resources: Resources, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Loggers of its own: one that has logged before, in another test, keeps where it logged to.
    for module in ("tasks.attempt", "tasks.process"):
        monkeypatch.setattr(f"{module}._LOG", structlog.get_logger())
    monkeypatch.setitem(HANDLERS, "price", rows_but_for("bad", RuntimeError("a bug")))
    pointers = [inbox.pointer(incoming(entity_id=sku)) for sku in ("a", "bad", "z")]
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        process(resources, pointers)
        process(resources, [inbox.pointer(incoming(entity_id="bad"))])
    said = [(line["action"], line.get("event_id")) for line in lines]
    assert said[:2] == [("batch_split", None), ("event_retry", str(pointers[1].event_id))]
    assert {action for action, _ in said[2:]} == {"event_retry"}
    assert None not in {event_id for _, event_id in said[2:]}


def test_a_batch_with_slow_handlers_takes_several_short_transactions_and_gives_back_the_rest(
    resources: Resources, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given handlers so slow that a transaction has time for one entity only
    monkeypatch.setattr("tasks.attempt._TRANSACTION_S", 0)
    pointers = [inbox.pointer(incoming(entity_id=f"{number}")) for number in range(10)]
    process(resources, pointers[:5])
    assert ends(inbox, *pointers[:5]) == [Outcome.APPLIED] * 5
    assert inbox.sql("SELECT count(DISTINCT xmin::text) FROM event WHERE outcome = 1") == [(5,)]
    # When not even a second transaction has time
    monkeypatch.setattr("tasks.attempt._MESSAGE_S", 0)
    process(resources, pointers[5:])
    given_back = "SELECT count(*), status, attempts, claimed_at, dispatched_at FROM event WHERE outcome IS NULL"
    assert inbox.sql(given_back + " GROUP BY 2, 3, 4, 5") == [(4, 0, 0, None, None)]
    monkeypatch.undo()
    process(resources, pointers)
    assert ends(inbox, *pointers) == [Outcome.APPLIED] * 10


def test_a_batch_that_takes_too_long_leaves_its_events_to_run_alone(
    resources: Resources, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(HANDLERS, "price", rows_but_for("slow", SoftTimeLimitExceeded()))
        pointers = [inbox.pointer(incoming(entity_id=sku)) for sku in ("slow", "quick")]
        with pytest.raises(SoftTimeLimitExceeded):
            process(resources, pointers)
    inbox.sql("UPDATE event SET lease_until = now() - interval '1 s'")
    with pipelined_transaction(inbox.engine) as session:
        assert due.expire_leases(session, 8).total() == 2
    process(resources, pointers)
    assert ends(inbox, *pointers) == [Outcome.APPLIED] * 2
    assert inbox.sql("SELECT count(DISTINCT xmin::text) FROM event") == [(2,)]


def test_what_was_claimed_before_runs_alone_and_only_that_counts(resources: Resources, inbox: Inbox) -> None:
    pointers = [inbox.pointer(incoming(entity_id=f"{number}")) for number in range(4)]
    died = Claim(tuple(pointer.event_id for pointer in pointers[:2]), uuid.uuid4(), counted=False)
    with pipelined_transaction(inbox.engine) as session:
        claim.claim(session, died, 0)
        assert [fenced.attempts for fenced in finish.fence(session, died)] == [0, 0]
    with pipelined_transaction(inbox.engine) as session:
        assert due.expire_leases(session, 1).total() == 2
    again = replace(died, token=uuid.uuid4())
    with pytest.raises(ClaimLost), pipelined_transaction(inbox.engine) as session:
        claim.claim(session, again, 10)
        finish.fence(session, again)
    process(resources, pointers)
    assert ends(inbox, *pointers) == [Outcome.APPLIED] * 4
    # Two that ran alone, and the two that nobody had claimed in one transaction.
    assert inbox.sql("SELECT count(DISTINCT xmin::text) FROM event") == [(3,)]


def test_a_busy_entity_is_parked_and_the_others_go_on(resources: Resources, inbox: Inbox) -> None:
    pointers = [inbox.pointer(incoming(entity_id=sku)) for sku in ("free", "busy", "too")]
    held, lock = resources.locks.acquire(f"{inbox.source.id}/price/busy")
    assert held is LockResult.LOCKED
    process(resources, pointers)
    assert ends(inbox, *pointers) == [Outcome.APPLIED, None, Outcome.APPLIED]
    assert inbox.event(pointers[1].event_id).parked_at is not None
    assert resources.locks.release(lock)


def test_events_parked_while_a_batch_ran_are_dispatched_after_it(resources: Resources, inbox: Inbox) -> None:
    parked = inbox.pointer(incoming("order.paid", "o", 1))
    inbox.sql("UPDATE event SET parked_at = now(), dispatched_at = NULL")
    pointers = [inbox.pointer(incoming("order.paid", "o", 2)), inbox.pointer(incoming(entity_id="x"))]
    resources.locks.mark_parked(f"{inbox.source.id}/order/o")
    process(resources, pointers)
    unparked = inbox.event(parked.event_id)
    assert unparked.parked_at is None
    assert unparked.dispatched_at is not None


def test_without_redis_a_batch_gives_the_same_answer(resources: Resources, inbox: Inbox) -> None:
    gone = replace(resources, locks=type(resources.locks)("redis://127.0.0.1:1/0", ttl_s=1, wait_s=0.02))
    pointers = [inbox.pointer(incoming(entity_id=sku)) for sku in ("a", "b")]
    process(gone, pointers)
    assert ends(inbox, *pointers) == [Outcome.APPLIED] * 2


def test_two_batches_at_once_on_the_same_new_entities_leave_the_newest(resources: Resources, inbox: Inbox) -> None:
    gone = replace(resources, locks=type(resources.locks)("redis://127.0.0.1:1/0", ttl_s=1, wait_s=0.02))
    older = [inbox.pointer(incoming("order.paid", f"{n}", 10, data={"n": 10})) for n in range(20)]
    newer = [inbox.pointer(incoming("order.paid", f"{n}", 20, data={"n": 20})) for n in reversed(range(20))]
    start = threading.Barrier(2)

    def run(pointers: list[Pointer]) -> None:
        start.wait()
        process(gone, pointers)

    threads = [threading.Thread(target=run, args=(pointers,), name="batch") for pointers in (older, newer)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    inbox.sql("UPDATE event SET due_at = now() WHERE status = 0")
    process(gone, [*older, *newer])
    assert ends(inbox, *older, *newer) == [Outcome.APPLIED] * 40
    assert {inbox.data(f"{n}", "order") for n in range(20)} == {'{"n":20}'}
