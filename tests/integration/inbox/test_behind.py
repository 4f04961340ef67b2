"""What waits behind a message: a worker whose lane is behind takes it along, and nothing else."""

import uuid

import pytest

from app.db.pipeline import autocommit
from app.events.incoming import Incoming, JsonObject
from app.handlers import HANDLERS
from app.handlers.registry import Handler, NotProjectable
from app.inbox import claim
from app.inbox.claim import ExtraWork
from app.messaging.pointer import Pointer
from app.models import Lane, Outcome, Price
from app.resources import Resources
from tasks.batch_size import Pace
from tasks.process import process, process_pointers
from tests.support.factories import Inbox, incoming

HIGH = ExtraWork(Lane.HIGH, 20)


def waits(inbox: Inbox, event: Incoming, for_s: float = 1.0) -> Pointer:
    """Store an event in high whose message was published so long ago."""
    pointer = inbox.pointer(event)
    change = "UPDATE event SET lane = 0, dispatched_at = now() - make_interval(secs => :for_s) WHERE id = :id"
    inbox.sql(change, for_s=for_s, id=pointer.event_id)
    return pointer


def outcomes(inbox: Inbox, *pointers: Pointer) -> list[Outcome | None]:
    return [inbox.event(pointer.event_id).outcome for pointer in pointers]


def found(resources: Resources, own: Pointer, more: ExtraWork = HIGH) -> list[uuid.UUID]:
    with autocommit(resources.engine) as session:
        return [event.first for _, event in claim.waiting(session, [own], more)]


def test_a_worker_takes_along_what_waits_in_its_lane(inbox: Inbox, resources: Resources) -> None:
    own, *others = [waits(inbox, incoming(entity_id=f"sku-{number}")) for number in range(5)]
    process_pointers(resources, [[str(own.event_id), 0]], Lane.HIGH, Pace())
    assert outcomes(inbox, own, *others) == [Outcome.APPLIED] * 5
    # In one transaction, and their own messages find nothing left to do
    assert inbox.sql("SELECT count(DISTINCT xmin::text) FROM event") == [(1,)]
    process(resources, others, HIGH)
    assert {inbox.event(pointer.event_id).attempts for pointer in (own, *others)} == {1}


def test_a_worker_without_a_lane_takes_nothing_along(inbox: Inbox, resources: Resources) -> None:
    own, other = (waits(inbox, incoming(entity_id=sku)) for sku in ("a", "b"))
    process_pointers(resources, [[str(own.event_id), 0]], None, Pace())
    assert outcomes(inbox, own, other) == [Outcome.APPLIED, None]


@pytest.mark.parametrize(
    "change",
    [
        "lane = 1",
        "dispatched_at = now() - interval '1 minute'",
        "dispatched_at = NULL",
        "parked_at = now()",
        "claimed_at = now()",
        "status = 1",
        "due_at = now() + interval '1 minute'",
    ],
    ids=["another lane's", "long ago", "not yet", "parked", "tried before", "claimed", "not due"],
)
def test_what_is_not_waiting_for_a_worker_is_left(change: str, inbox: Inbox, resources: Resources) -> None:
    own, other = (waits(inbox, incoming(entity_id=sku)) for sku in ("a", "b"))
    assert found(resources, own) == [own.event_id, other.event_id]
    inbox.sql(f"UPDATE event SET {change} WHERE id = :id", id=other.event_id)
    assert found(resources, own) == [own.event_id]


def test_the_longest_waiting_go_first_as_many_as_there_is_room_for(inbox: Inbox, resources: Resources) -> None:
    own, *others = [waits(inbox, incoming(entity_id=f"sku-{s}"), for_s=s) for s in (0.5, 1.0, 3.0, 2.0)]
    first, *rest = found(resources, own, ExtraWork(Lane.HIGH, 2))
    assert first == own.event_id
    assert set(rest) == {others[1].event_id, others[2].event_id}


def test_a_busy_entity_of_another_holds_up_nobody(inbox: Inbox, resources: Resources) -> None:
    own, busy, free = (waits(inbox, incoming(entity_id=sku)) for sku in ("a", "b", "c"))
    _, lock = resources.locks.acquire(f"{inbox.source.id}/price/b")
    process(resources, [own], HIGH)
    assert outcomes(inbox, own, busy, free) == [Outcome.APPLIED, None, Outcome.APPLIED]
    # Nothing was done to it: neither parked nor sent again, since its message is on its way
    left = inbox.event(busy.event_id)
    assert (left.parked_at, left.attempts, left.dispatched_at is not None) == (None, 0, True)
    resources.locks.release(lock)
    process(resources, [busy], HIGH)
    assert outcomes(inbox, busy) == [Outcome.APPLIED]


def test_one_that_cannot_be_applied_harms_only_itself(
    inbox: Inbox, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(data: JsonObject) -> list[dict[str, object]]:
        if data["id"] == "bad":
            raise RuntimeError("a bug")
        raise NotProjectable("not needed here")

    monkeypatch.setitem(HANDLERS, "price", Handler(Price, rows))
    own, bad, good = (waits(inbox, incoming(entity_id=sku)) for sku in ("a", "bad", "c"))
    process(resources, [own], HIGH)
    assert outcomes(inbox, own, bad, good) == [Outcome.APPLIED, None, Outcome.APPLIED]
    assert inbox.event(bad.event_id).attempts == 1


def test_a_process_whose_events_take_long_takes_few_along() -> None:
    pace = Pace()
    assert pace.room(20) == 20
    for _ in range(50):
        pace.took(1.0, events=1)
    assert pace.room(20) == 0
    for _ in range(50):
        pace.took(0.02, events=20)
    assert pace.room(20) == 20
    pace.took(0.0, events=0)


def test_a_message_whose_event_is_done_still_takes_along_what_waits(inbox: Inbox, resources: Resources) -> None:
    own, *others = [waits(inbox, incoming(entity_id=f"sku-{number}")) for number in range(3)]
    process(resources, [own])
    process(resources, [own], HIGH)
    assert outcomes(inbox, *others) == [Outcome.APPLIED] * 2


def test_a_newer_event_of_the_same_entity_goes_for_the_one_that_waits(inbox: Inbox, resources: Resources) -> None:
    own = waits(inbox, incoming(entity_id="a"))
    older = waits(inbox, incoming(entity_id="b", version=1))
    newer = inbox.pointer(incoming(entity_id="b", version=2))
    process(resources, [own], HIGH)
    assert outcomes(inbox, older, newer) == [Outcome.SUPERSEDED, Outcome.APPLIED]
