"""The dispatcher: short queues, nothing forgotten, one leader."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from app.dispatcher.loop import Dispatcher
from app.inbox.wake import CHANNEL
from app.messaging.messages import queue_name
from app.models import Lane, Outcome, Status
from app.resources import Resources
from config.settings import Settings
from tests.support.factories import Inbox, incoming
from tests.support.queues import Queues
from tests.support.waiting import wait_until


def leaders(inbox: Inbox) -> list[int]:
    """Return the backends that hold the dispatchers' advisory lock."""
    return [row[0] for row in inbox.sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")]


@pytest.fixture
def dispatcher(resources: Resources) -> Dispatcher:
    return Dispatcher(resources)


def waiting(inbox: Inbox, count: int, **changes: object) -> list[str]:
    """Store events that wait for the dispatcher."""
    inbox.sql("UPDATE lane SET open = false")
    made = [incoming(entity_id=f"sku-{number}", **changes) for number in range(count)]  # type: ignore[arg-type]
    return [str(stored.id) for stored in inbox.accept(*made)]


def test_what_is_due_is_published_with_its_generation(inbox: Inbox, dispatcher: Dispatcher, queues: Queues) -> None:
    (event_id,) = waiting(inbox, 1)
    inbox.sql("UPDATE event SET generation = 3")
    dispatcher.step()
    assert queues.take(Lane.HIGH) == [(event_id, 3)]


def test_what_is_not_due_waits_and_is_published_when_its_time_comes(
    inbox: Inbox, dispatcher: Dispatcher, queues: Queues
) -> None:
    (event_id,) = waiting(inbox, 1)
    inbox.sql("UPDATE event SET due_at = now() + interval '0.2 s'")
    assert dispatcher.step() <= 0.25
    assert queues.depth(Lane.HIGH) == 0

    def published() -> bool:
        dispatcher.step()
        return queues.depth(Lane.HIGH) == 1

    wait_until(published)
    assert queues.take(Lane.HIGH) == [(event_id, 0)]


def test_a_queue_holds_no_more_than_its_window_and_the_most_urgent_go_first(
    inbox: Inbox, dispatcher: Dispatcher, queues: Queues
) -> None:
    ids = waiting(inbox, 500)
    urgent = ids[-1]
    inbox.sql("UPDATE event SET priority = 9 WHERE id = :id", id=urgent)
    assert dispatcher.step() < dispatcher.resources.settings.dispatch_interval_s
    window = dispatcher.window(Lane.HIGH)
    assert inbox.sql("SELECT open FROM lane WHERE lane = 0") == [(False,)]
    dispatcher.step()
    taken = queues.take(Lane.HIGH)
    assert len(taken) == window < 500
    assert taken[0] == (urgent, 0)


def test_a_lane_whose_workers_have_many_pointers_out_is_closed(
    inbox: Inbox, dispatcher: Dispatcher, queues: Queues
) -> None:
    def is_open() -> bool:
        dispatcher._pulse_at = 0
        dispatcher.step()
        found: bool = inbox.sql("SELECT open FROM lane WHERE lane = 0")[0][0]
        return found

    # Given as many pointers, each published by itself, as one worker may have out, and no worker at all
    inbox.accept(*(incoming(entity_id=str(number)) for number in range(59)))
    inbox.sql("UPDATE event SET dispatched_at = now()")
    assert is_open()
    inbox.sql("UPDATE event SET dispatched_at = now() WHERE id = :id", id=inbox.accept(incoming(entity_id="x"))[0].id)
    assert not is_open()
    # When two listen, they may have twice as many
    for tag in ("one", "two"):
        queues.channel.basic_consume(queue_name(Lane.HIGH), consumer_tag=tag, no_ack=True)
    assert is_open()


def test_while_high_has_more_than_its_window_the_other_lanes_get_their_share_and_then_the_rest(
    inbox: Inbox, dispatcher: Dispatcher, queues: Queues
) -> None:
    dispatcher.resources = replace(
        dispatcher.resources, settings=dispatcher.resources.settings.model_copy(update={"window_pointers": 100})
    )
    waiting(inbox, 250)
    waiting(inbox, 60, type="log.recorded")
    dispatcher.step()
    assert len(queues.take(Lane.LOW)) == 7
    assert inbox.sql("SELECT open FROM lane WHERE lane = 2") == [(False,)]
    inbox.sql("UPDATE event SET status = 2, outcome = 1, finished_at = now() WHERE lane = 0")
    dispatcher.step()
    dispatcher.step()
    assert len(queues.take(Lane.LOW)) == 53


def test_a_window_grows_with_the_lanes_drain(inbox: Inbox, dispatcher: Dispatcher, queues: Queues) -> None:
    waiting(inbox, 3_200)
    inbox.sql("UPDATE event SET status = 2, outcome = 1, finished_at = clock_timestamp(), dispatched_at = now()")
    dispatcher.step()
    assert dispatcher.window(Lane.HIGH) == 400  # of a quarter of a second, at 1,600/s
    assert dispatcher.window(Lane.LOW) == 200


def test_a_lane_opens_again_when_nothing_waits_behind_it(inbox: Inbox, dispatcher: Dispatcher, queues: Queues) -> None:
    waiting(inbox, 5)
    dispatcher.step()
    assert inbox.sql("SELECT open FROM lane") == [(True,)] * 3


def test_after_a_lane_was_opened_who_found_it_closed_is_looked_for_soon(
    inbox: Inbox, dispatcher: Dispatcher, queues: Queues
) -> None:
    usual_s = dispatcher.resources.settings.dispatch_interval_s
    (before,) = waiting(inbox, 1)
    assert dispatcher.step() < usual_s / 2
    assert inbox.sql("SELECT open FROM lane WHERE lane = 0") == [(True,)]
    (late,) = waiting(inbox, 1)
    inbox.sql("UPDATE lane SET open = true")
    assert dispatcher.step() < usual_s / 2
    assert {event_id for event_id, _ in queues.take(Lane.HIGH)} == {before, late}
    wait_until(lambda: dispatcher.step() > usual_s / 2)


def test_a_pointer_that_nobody_worked_on_is_published_again_later_and_later(
    inbox: Inbox, dispatcher: Dispatcher, queues: Queues
) -> None:
    event_id = str(inbox.accept(incoming())[0].id)
    dispatcher.step()
    assert queues.take(Lane.HIGH) == []
    inbox.sql("UPDATE event SET dispatched_at = now() - interval '6 s'")
    dispatcher.step()
    assert queues.take(Lane.HIGH) == [(event_id, 0)]
    inbox.sql("UPDATE event SET dispatched_at = now() - interval '6 s'")
    dispatcher.step()
    assert queues.take(Lane.HIGH) == []
    inbox.sql("UPDATE event SET dispatched_at = now() - interval '11 s'")
    dispatcher.step()
    assert queues.take(Lane.HIGH) == [(event_id, 0)]
    assert inbox.sql("SELECT generation FROM event") == [(0,)]


def test_lost_pointers_come_back_soon_however_little_their_lane_drains(
    inbox: Inbox, dispatcher: Dispatcher, queues: Queues
) -> None:
    inbox.accept(*(incoming(entity_id=str(number)) for number in range(50)))
    inbox.sql("UPDATE event SET dispatched_at = now() - interval '6 s'")
    trickle = inbox.accept(incoming(entity_id="trickle"))[0]
    inbox.sql(
        "UPDATE event SET status = 2, outcome = 1, finished_at = clock_timestamp() WHERE id = :id", id=trickle.id
    )
    dispatcher.step()
    assert len(queues.take(Lane.HIGH)) == 50


def test_a_pointer_in_a_long_queue_is_not_lost_yet_but_is_some_day(
    inbox: Inbox, dispatcher: Dispatcher, queues: Queues
) -> None:
    waiting(inbox, 100)
    dispatcher.step()
    dispatcher._pulse_at = 0
    inbox.sql("UPDATE event SET dispatched_at = now() - interval '25 s'")
    done = inbox.accept(incoming(entity_id="trickle"))[0]
    inbox.sql("UPDATE event SET status = 2, outcome = 1, finished_at = clock_timestamp() WHERE id = :id", id=done.id)
    dispatcher.step()
    assert queues.depth(Lane.HIGH) == 5
    inbox.sql("UPDATE event SET dispatched_at = now() - interval '31 s' WHERE status = 0")
    dispatcher.step()
    assert len(queues.take(Lane.HIGH)) == 200


def test_an_event_whose_worker_vanished_is_published_again(
    inbox: Inbox, dispatcher: Dispatcher, queues: Queues
) -> None:
    event_id = str(inbox.accept(incoming())[0].id)
    inbox.sql("UPDATE event SET status = 1, attempts = 1, lease_until = now() - interval '1 s'")
    dispatcher.step()
    assert queues.take(Lane.HIGH) == [(event_id, 0)]
    assert [entry["step"] for entry in inbox.sql("SELECT history FROM event")[0][0]] == ["lease expired"]


def test_an_event_that_used_up_its_attempts_ends_dead(inbox: Inbox, dispatcher: Dispatcher) -> None:
    stored = inbox.accept(incoming())[0]
    inbox.sql("UPDATE event SET status = 1, attempts = 8, lease_until = now() - interval '1 s'")
    dispatcher.step()
    event = inbox.event(stored.id)
    assert (event.status, event.outcome) == (Status.FAILED, Outcome.DEAD)


def test_while_the_broker_is_away_events_wait_and_the_lanes_are_closed(
    inbox: Inbox, settings: Settings, queues: Queues
) -> None:
    away = Resources.open(settings.model_copy(update={"broker_url": "amqp://127.0.0.1:1//"}))
    dispatcher = Dispatcher(away)
    (event_id,) = waiting(inbox, 1)
    assert dispatcher.step() == settings.dispatch_interval_s
    assert inbox.sql("SELECT open FROM lane") == [(False,)] * 3
    assert inbox.sql("SELECT dispatched_at FROM event") == [(None,)]
    away.close()
    back = Resources.open(settings)
    Dispatcher(back).step()
    back.close()
    assert queues.take(Lane.HIGH) == [(event_id, 0)]


def test_a_broker_that_goes_away_between_two_steps_loses_nothing(
    inbox: Inbox, settings: Settings, resources: Resources, queues: Queues
) -> None:
    dispatcher = Dispatcher(resources)
    dispatcher.step()
    resources.publisher.close()
    resources.publisher._url = "amqp://127.0.0.1:1//"
    waiting(inbox, 3)
    dispatcher.step()
    assert inbox.sql("SELECT count(*) FROM event WHERE dispatched_at IS NULL") == [(3,)]
    resources.publisher._url = settings.broker_url
    dispatcher._pulse_at = 0
    dispatcher.step()
    assert len(queues.take(Lane.HIGH)) == 3


def test_one_dispatcher_leads_is_woken_by_notify_and_hands_over_when_it_stops(
    inbox: Inbox, settings: Settings, queues: Queues
) -> None:
    slow = settings.model_copy(update={"dispatch_interval_s": 10.0})
    opened = [Resources.open(slow) for _ in range(2)]
    dispatchers = [Dispatcher(resources) for resources in opened]
    threads = [threading.Thread(target=dispatcher.run, daemon=True) for dispatcher in dispatchers]

    for number, thread in enumerate(threads):
        thread.start()
        wait_until(lambda: len(leaders(inbox)) == 1)
        if number == 0:
            wait_until(lambda: inbox.sql("SELECT bool_and(dispatcher_seen_at IS NOT NULL) FROM lane")[0][0])
    waiting(inbox, 1)
    with inbox.engine.begin() as connection:
        connection.execute(text(f"NOTIFY {CHANNEL}"))
    wait_until(lambda: queues.depth(Lane.HIGH) == 1)
    first = leaders(inbox)
    dispatchers[0].stopping.set()
    with inbox.engine.begin() as connection:
        connection.execute(text(f"NOTIFY {CHANNEL}"))
    threads[0].join()
    wait_until(lambda: leaders(inbox) not in ([], first))
    dispatchers[1].stopping.set()
    with inbox.engine.begin() as connection:
        connection.execute(text(f"NOTIFY {CHANNEL}"))
    threads[1].join()
    for resources in opened:
        resources.close()


def test_a_dispatcher_whose_connection_is_ended_leads_again(inbox: Inbox, settings: Settings, queues: Queues) -> None:
    resources = Resources.open(settings)
    dispatcher = Dispatcher(resources)
    thread = threading.Thread(target=dispatcher.run, daemon=True)
    thread.start()
    wait_until(lambda: bool(leaders(inbox)))
    first = leaders(inbox)[0]
    inbox.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND pid = :pid",
        pid=first,
    )
    wait_until(lambda: leaders(inbox) not in ([], [first]))
    waiting(inbox, 1)
    wait_until(lambda: queues.depth(Lane.HIGH) == 1)
    dispatcher.stopping.set()
    thread.join()
    resources.close()
