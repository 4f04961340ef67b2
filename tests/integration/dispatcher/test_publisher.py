"""Publishing: what is confirmed is in its queue, and what isn't is said."""

import pytest

from app.db.engine import transaction
from app.inbox import due
from app.messaging.messages import queue_name
from app.messaging.pointer import Dispatch, Pointer
from app.messaging.publisher import Publisher
from app.models import Lane
from app.resources import Resources
from config.settings import QueueType, Settings
from tests.support.factories import Inbox, incoming
from tests.support.queues import Queues


def dispatches(inbox: Inbox, count: int) -> list[Dispatch]:
    made = [incoming(entity_id=f"sku-{number}") for number in range(count)]
    return [Dispatch(Pointer(stored.id, 0), Lane.HIGH, 5) for stored in inbox.accept(*made)]


def test_every_confirmed_pointer_is_in_its_queue(inbox: Inbox, resources: Resources, queues: Queues) -> None:
    pointers = dispatches(inbox, 1_200)
    assert resources.publisher.publish(pointers) == []
    assert len(queues.take(Lane.HIGH)) == 1_200


def test_pointers_that_are_there_together_and_equally_urgent_share_messages(
    inbox: Inbox, resources: Resources, queues: Queues
) -> None:
    pointers = dispatches(inbox, 60)
    mixed = [Dispatch(one.pointer, Lane(number % 3), 5) for number, one in enumerate(pointers)]
    assert resources.publisher.publish(mixed) == []
    assert [queues.depth(lane) for lane in Lane] == [1, 1, 1]
    for lane in Lane:
        taken = sorted(queues.take(lane))
        assert taken == sorted((str(one.pointer.event_id), 0) for one in mixed if one.lane is lane)


def test_higher_priorities_leave_a_queue_first(
    inbox: Inbox, settings: Settings, resources: Resources, queues: Queues
) -> None:
    if settings.broker_queue_type is QueueType.QUORUM and queues.version() < (4, 3):
        pytest.skip("quorum queues have no strict priorities before RabbitMQ 4.3")
    pointers = dispatches(inbox, 10)
    mixed = [Dispatch(one.pointer, one.lane, number) for number, one in enumerate(pointers)]
    assert resources.publisher.publish(mixed) == []
    expected = [(str(one.pointer.event_id), 0) for one in reversed(mixed)]
    assert queues.take(Lane.HIGH) == expected


def test_a_queue_that_was_deleted_refuses_and_is_made_again(
    inbox: Inbox, resources: Resources, queues: Queues
) -> None:
    first, second = dispatches(inbox, 2)
    assert resources.publisher.publish([first]) == []
    queues.channel.queue_delete(queue_name(Lane.HIGH))
    assert resources.publisher.publish([second]) == []
    assert queues.take(Lane.HIGH) == [(str(second.pointer.event_id), 0)]


def test_a_connection_that_died_while_idle_is_made_again(inbox: Inbox, resources: Resources, queues: Queues) -> None:
    first, second = dispatches(inbox, 2)
    resources.publisher.publish([first])
    assert resources.publisher._connection is not None
    resources.publisher._connection.connection.transport.sock.close()
    assert resources.publisher.publish([second]) == []
    assert len(queues.take(Lane.HIGH)) == 2


def test_a_broker_that_is_away_takes_nothing_and_says_so(inbox: Inbox, settings: Settings) -> None:
    with Publisher("amqp://127.0.0.1:1//", settings.broker_queue_type) as publisher:
        pointers = dispatches(inbox, 600)
        assert sorted(publisher.publish(pointers), key=str) == sorted(pointers, key=str)


def test_unpublished_events_wait_again(inbox: Inbox) -> None:
    (pointer,) = dispatches(inbox, 1)
    with transaction(inbox.engine) as session:
        due.unpublished(session, [pointer.pointer.event_id])
    assert inbox.sql("SELECT dispatched_at FROM event") == [(None,)]
