"""When an event counts: not before its time, not after it, not for a campaign that has ended; and near it, sooner."""

from datetime import UTC, datetime, timedelta

import pytest

from app.db.pipeline import pipelined_transaction
from app.dispatcher.loop import Dispatcher
from app.events.incoming import Incoming
from app.inbox import deadlines
from app.messaging.pointer import Pointer
from app.models import Lane, Outcome, Status
from app.resources import Resources
from tasks.process import process
from tests.support.factories import Inbox, incoming
from tests.support.queues import Queues
from tests.support.waiting import wait_until


def in_s(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def price(version: int = 1, **data: object) -> Incoming:
    return incoming(version=version, data={"amount": str(version), "currency": "EUR", **data})


def run(resources: Resources, inbox: Inbox, pointer: Pointer) -> Outcome | None:
    process(resources, [pointer])
    return inbox.event(pointer.event_id).outcome


def test_an_event_for_later_waits_in_the_database_and_runs_when_its_time_comes(
    inbox: Inbox, resources: Resources, queues: Queues
) -> None:
    # Given an open lane, and an event that is to count in a moment
    (stored,) = inbox.accept(price(effective_at=in_s(0.5)))
    pointer = Pointer(stored.id, 0)
    # Then it isn't published, and its pointer does nothing yet
    assert not stored.publish
    assert inbox.sql("SELECT dispatched_at, due_at = effective_at FROM event") == [(None, True)]
    assert run(resources, inbox, pointer) is None
    # When its time comes the dispatcher publishes it, having slept no longer than until then
    dispatcher = Dispatcher(resources)
    assert dispatcher.step() <= resources.settings.dispatch_interval_s

    def published() -> bool:
        dispatcher.step()
        return queues.depth(Lane.HIGH) == 1

    wait_until(published)
    assert inbox.sql("SELECT now() >= effective_at FROM event") == [(True,)]
    assert run(resources, inbox, pointer) is Outcome.APPLIED


def test_an_event_for_a_time_that_has_passed_is_published_at_once(inbox: Inbox) -> None:
    assert inbox.accept(price(effective_at=in_s(-10)))[0].publish


def test_a_newer_event_for_later_leaves_an_older_one_that_is_due_alone(inbox: Inbox, resources: Resources) -> None:
    newer, older = inbox.pointer(price(2, effective_at=in_s(3600))), inbox.pointer(price(1))
    assert run(resources, inbox, older) is Outcome.APPLIED
    assert inbox.event(newer.event_id).status is Status.PENDING
    inbox.sql("UPDATE event SET due_at = now(), effective_at = now() WHERE status = 0")
    assert run(resources, inbox, newer) is Outcome.APPLIED
    assert '"amount":"2"' in (inbox.data() or "")


def test_an_older_event_for_later_ends_superseded_since_the_newer_one_stands_whenever_it_comes(
    inbox: Inbox, resources: Resources
) -> None:
    older, newer = inbox.pointer(price(1, effective_at=in_s(3600))), inbox.pointer(price(2))
    assert run(resources, inbox, newer) is Outcome.APPLIED
    assert inbox.event(older.event_id).outcome is Outcome.SUPERSEDED
    # One that comes afterwards waits for its time, and is stale then
    late = inbox.pointer(price(1, effective_at=in_s(3600), n=2))
    inbox.sql("UPDATE event SET due_at = now() WHERE status = 0")
    assert run(resources, inbox, late) is Outcome.STALE
    assert '"amount":"2"' in (inbox.data() or "")


def test_an_event_that_is_too_late_is_expired_and_never_applied(inbox: Inbox, resources: Resources) -> None:
    pointer = inbox.pointer(price(expires_at=in_s(-1)))
    assert run(resources, inbox, pointer) is Outcome.EXPIRED
    event = inbox.event(pointer.event_id)
    assert (event.status, [entry["why"] for entry in event.history]) == (
        Status.COMPLETED,
        ["its expires_at has passed"],
    )
    assert inbox.entity() is None


def test_a_newer_event_that_is_too_late_does_not_end_an_older_one(
    inbox: Inbox, resources: Resources, queues: Queues
) -> None:
    older, newer = inbox.pointer(price(1)), inbox.pointer(price(2, expires_at=in_s(-1)))
    # The older one's pointer takes the newest first; then its own event gets a new pointer
    process(resources, [older])
    assert inbox.event(newer.event_id).outcome is Outcome.EXPIRED
    Dispatcher(resources).step()
    assert queues.take(Lane.HIGH) == [(str(older.event_id), 0)]
    assert run(resources, inbox, older) is Outcome.APPLIED


def test_the_dispatcher_ends_what_expires_while_it_waits(inbox: Inbox, resources: Resources) -> None:
    inbox.sql("UPDATE lane SET open = false")
    inbox.accept(price(expires_at=in_s(-1)), price(2, expires_at=in_s(3600)))
    with pipelined_transaction(resources.engine) as session:
        assert deadlines.expire(session) == 1
    assert sorted(inbox.sql("SELECT status, outcome FROM event")) == [(0, None), (2, Outcome.EXPIRED)]


def campaign(inbox: Inbox, resources: Resources, ends_in_s: float, version: int = 1) -> None:
    data = {"name": "Summer", "ends_at": in_s(ends_in_s)}
    process(resources, [inbox.pointer(incoming("campaign.updated", "summer", version, data=data))])


def test_what_belongs_to_an_ended_campaign_is_expired(inbox: Inbox, resources: Resources) -> None:
    campaign(inbox, resources, -1)
    told = inbox.pointer(price(campaign_id="summer"))
    triggered = inbox.pointer(incoming("campaign.triggered", "summer", 5))
    assert [run(resources, inbox, pointer) for pointer in (told, triggered)] == [Outcome.EXPIRED] * 2
    assert inbox.event(told.event_id).history[0]["why"] == "its campaign has ended"
    assert inbox.sql("SELECT count(*) FROM fact") == [(0,)]


@pytest.mark.parametrize(
    "event",
    [
        price(campaign_id="winter"),
        incoming("price.deleted", data={"campaign_id": "summer"}),
        incoming("lead.captured", data={"campaign": "summer"}),
        incoming("coupon.redeemed", data={"campaign": "summer"}),
        incoming("campaign.updated", "summer", 2, data={"name": "Summer is over"}),
        incoming("campaign.deleted", "summer", 2),
    ],
    ids=["of another campaign", "a delete", "a lead", "a redemption", "about the campaign", "the campaign's delete"],
)
def test_an_ended_campaign_ends_nothing_else(inbox: Inbox, resources: Resources, event: Incoming) -> None:
    campaign(inbox, resources, -1)
    assert run(resources, inbox, inbox.pointer(event)) is Outcome.APPLIED


def test_a_campaign_that_is_extended_goes_on(inbox: Inbox, resources: Resources) -> None:
    campaign(inbox, resources, -1)
    expired = inbox.pointer(price(campaign_id="summer"))
    assert run(resources, inbox, expired) is Outcome.EXPIRED
    campaign(inbox, resources, 3600, version=2)
    assert run(resources, inbox, inbox.pointer(price(2, campaign_id="summer"))) is Outcome.APPLIED


def promote(resources: Resources, near_s: float = 60) -> int:
    with pipelined_transaction(resources.engine) as session:
        return deadlines.promote(session, near_s)


def lanes(inbox: Inbox) -> list[tuple[Lane, int, int]]:
    return [tuple(row) for row in inbox.sql("SELECT lane, priority, promoted FROM event ORDER BY external_id")]


def backlog(inbox: Inbox, *events: Incoming) -> None:
    inbox.sql("UPDATE lane SET open = false")
    inbox.accept(*events)


@pytest.mark.parametrize(
    ("left_s", "expected"),
    [(3600, (Lane.LOW, 0, 0)), (50, (Lane.LOW, 9, 1)), (10, (Lane.MEDIUM, 9, 2)), (-5, (Lane.LOW, 0, 0))],
)
def test_what_waits_goes_ahead_as_its_deadline_nears_and_never_from_low_to_high(
    inbox: Inbox, resources: Resources, left_s: float, expected: tuple[Lane, int, int]
) -> None:
    backlog(inbox, incoming("log.written", data={"expires_at": in_s(left_s)}))
    for _ in range(3):
        promote(resources)
    assert lanes(inbox) == [expected]


def test_a_promotion_is_kept_on_the_timeline(inbox: Inbox, resources: Resources) -> None:
    backlog(inbox, incoming("segment.updated", data={"expires_at": in_s(50)}))
    assert promote(resources) == 1
    inbox.sql("UPDATE event SET expires_at = now() + interval '5 s'")
    assert promote(resources) == 1
    steps = [(entry["step"], entry["from"], entry["to"]) for entry in inbox.sql("SELECT history FROM event")[0][0]]
    assert steps == [("promoted", "medium", "medium"), ("promoted", "medium", "high")]


def test_age_promotes_nothing(inbox: Inbox, resources: Resources) -> None:
    backlog(inbox, incoming("log.written"))
    inbox.sql("UPDATE event SET due_at = now() - interval '1 year', received_at = now() - interval '1 year'")
    assert promote(resources) == 0


def test_the_end_of_a_campaign_is_a_deadline_for_what_it_would_end(inbox: Inbox, resources: Resources) -> None:
    campaign(inbox, resources, 10)
    inbox.sql("DELETE FROM event")
    of_it = {"campaign_id": "summer"}
    backlog(
        inbox,
        incoming("segment.updated", data=of_it, external_id="1"),
        incoming("lead.captured", data=of_it, external_id="2"),
        incoming("segment.updated", "other", data={"campaign_id": "winter"}, external_id="3"),
    )
    assert promote(resources) == 1
    assert [row[0] for row in lanes(inbox)] == [Lane.HIGH, Lane.MEDIUM, Lane.MEDIUM]


def test_the_dispatcher_promotes_and_expires_once_a_second(inbox: Inbox, resources: Resources, queues: Queues) -> None:
    backlog(
        inbox,
        incoming("segment.updated", "a", data={"expires_at": in_s(10)}, external_id="1"),
        incoming("segment.updated", "b", data={"expires_at": in_s(-1)}, external_id="2"),
    )
    Dispatcher(resources).step()
    assert len(queues.take(Lane.HIGH)) == 1
    assert inbox.sql("SELECT outcome FROM event WHERE external_id = '2'") == [(Outcome.EXPIRED,)]


def test_the_newest_inherits_the_most_urgent_lane_that_waits_for_its_entity(
    inbox: Inbox, resources: Resources, queues: Queues
) -> None:
    # Given an older price in high, and a newer one that came with a re-sync to low
    backlog(inbox, price(1), incoming("price.resynced", version=2, data={"n": 2}))
    older, newer = (row[0] for row in inbox.sql("SELECT id FROM event ORDER BY lane"))
    Dispatcher(resources).step()
    # When the older one's pointer comes out of high
    ((event_id, generation),) = queues.take(Lane.HIGH)
    assert event_id == str(older)
    process(resources, [Pointer(older, generation)])
    # Then the newer one is applied with it
    assert inbox.event(newer).outcome is Outcome.APPLIED
    assert inbox.event(older).outcome is Outcome.SUPERSEDED


def test_a_thing_that_changes_a_thousand_times_costs_one_apply(inbox: Inbox, resources: Resources) -> None:
    inbox.sql("UPDATE lane SET open = false")
    stored = inbox.accept(*(price(version) for version in range(1_000)))
    process(resources, [Pointer(event.id, 0) for event in stored])
    ended = dict(inbox.sql("SELECT outcome, count(*) FROM event GROUP BY outcome"))
    assert ended == {Outcome.APPLIED: 1, Outcome.SUPERSEDED: 999}
    assert '"amount":"999"' in (inbox.data() or "")
