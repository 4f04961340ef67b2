"""The outbox: whoever has committed sends, waiting for nobody, and what that leaves is published all the same."""

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from app.messaging.pointer import Dispatch, Pointer
from app.messaging.publisher import Publisher
from app.models import Lane
from app.resources import Resources
from app.web.webhooks.outbox import Outbox
from config.settings import Settings
from tests.support.factories import Inbox, incoming
from tests.support.proxied import Proxied, proxied
from tests.support.queues import Queues
from tests.support.waiting import wait_until


def dispatches(inbox: Inbox, count: int) -> list[Dispatch]:
    made = [incoming(entity_id=f"sku-{number}") for number in range(count)]
    return [Dispatch(Pointer(stored.id, 0), Lane.HIGH, 5) for stored in inbox.accept(*made)]


def pairs(pointers: list[Dispatch]) -> list[tuple[str, int]]:
    return sorted((str(one.pointer.event_id), one.pointer.generation) for one in pointers)


def taken(queues: Queues, count: int) -> list[tuple[str, int]]:
    """Wait for so many different pointers, and return what came."""
    found: list[tuple[str, int]] = []

    def all_there() -> bool:
        found.extend(queues.take(Lane.HIGH))
        return len(set(found)) >= count

    wait_until(all_there)
    return found


@pytest.fixture
def way(settings: Settings) -> Iterator[Proxied]:
    with proxied(urlsplit(settings.broker_url).port or 5672) as found:
        yield found


@pytest.fixture
def publisher(settings: Settings, way: Proxied) -> Iterator[Publisher]:
    """A publisher that is connected, by way of the proxy."""
    url = urlsplit(settings.broker_url)
    through = url._replace(netloc=url.netloc.replace(f":{url.port}", f":{way.port}")).geturl()
    with Publisher(through, settings.broker_queue_type) as made:
        made.queues()
        yield made


@pytest.fixture
def outbox(publisher: Publisher, resources: Resources) -> Iterator[Outbox]:
    made = Outbox(publisher, resources.engine)
    yield made
    made.close()


def test_without_a_connection_nothing_is_offered(inbox: Inbox, settings: Settings) -> None:
    pointers = dispatches(inbox, 3)
    with Publisher(settings.broker_url, settings.broker_queue_type) as publisher:
        assert publisher.offer(pointers) == pointers


def test_what_was_offered_is_confirmed_later(inbox: Inbox, publisher: Publisher, queues: Queues) -> None:
    pointers = dispatches(inbox, 60)
    assert publisher.offer(pointers) == []
    assert publisher.confirms(within_s=30) == []
    assert sorted(queues.take(Lane.HIGH)) == pairs(pointers)


def test_a_broker_that_stops_reading_holds_nobody_up(
    inbox: Inbox, publisher: Publisher, way: Proxied, queues: Queues
) -> None:
    # Each by itself, as in many small commits
    pointers = dispatches(inbox, 400)
    way.become("hole")
    left = [one for pointer in pointers for one in publisher.offer([pointer])]
    # Then no more is sent than any socket takes, and nothing was given up for it
    assert left
    assert publisher._channel is not None
    way.become("pass")
    assert publisher.confirms(within_s=30) == []
    assert sorted(queues.take(Lane.HIGH)) == pairs([one for one in pointers if one not in left])


def test_what_stays_unconfirmed_is_to_be_published_again(
    inbox: Inbox, publisher: Publisher, way: Proxied, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = dispatches(inbox, 2)
    way.become("hole")
    assert publisher.offer([first]) == []
    assert publisher.confirms() == []
    monkeypatch.setattr("app.messaging.publisher._CONFIRM_S", 0.0)
    assert publisher.confirms() == [first]
    # The connection is given up with it
    assert publisher.offer([second]) == [second]
    monkeypatch.undo()
    way.become("cut")
    way.become("pass")
    assert publisher.publish([first, second]) == []
    assert set(queues.take(Lane.HIGH)) == set(pairs([first, second]))


def test_a_queue_that_is_gone_refuses_what_was_offered(inbox: Inbox, publisher: Publisher, queues: Queues) -> None:
    pointers = dispatches(inbox, 2)
    queues.channel.queue_delete("events.high")
    assert publisher.offer(pointers) == []
    assert publisher.confirms(within_s=30) == pointers
    assert publisher.publish(pointers) == []
    assert sorted(queues.take(Lane.HIGH)) == pairs(pointers)


def test_many_that_commit_at_once_leave_nothing_behind(inbox: Inbox, outbox: Outbox, queues: Queues) -> None:
    pointers = dispatches(inbox, 800)

    def commit(mine: list[Dispatch]) -> None:
        for one in mine:
            outbox.put(one)
            outbox.send()

    threads = [threading.Thread(target=commit, args=(pointers[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken(queues, len(pointers))) == pairs(pointers)


@pytest.mark.parametrize("mode", ["cut", "reset"])
def test_a_connection_that_breaks_costs_no_pointer(
    mode: str, inbox: Inbox, outbox: Outbox, way: Proxied, queues: Queues
) -> None:
    pointers = dispatches(inbox, 100)
    for number, pointer in enumerate(pointers):
        if number % 25 == 10:
            way.become(mode)
            way.become("pass")
        outbox.put(pointer)
        outbox.send()
    # Some may come twice: what was sent and not confirmed is published again
    assert sorted(set(taken(queues, len(pointers)))) == pairs(pointers)


def test_the_last_one_is_noticed_where_it_is_lost(inbox: Inbox, outbox: Outbox, way: Proxied, queues: Queues) -> None:
    first, last = dispatches(inbox, 2)
    for pointer in (first, last):
        outbox.put(pointer)
        outbox.send()
        if pointer is first:
            assert taken(queues, 1) == pairs([first])
            way.become("hole")
    # Nothing follows that would show it
    way.become("cut")
    way.become("pass")
    assert taken(queues, 1) == pairs([last])


def test_whatever_goes_wrong_at_sending_fails_no_request_and_loses_nothing(
    inbox: Inbox, outbox: Outbox, publisher: Publisher, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_pointers: list[Dispatch]) -> list[Dispatch]:
        raise KeyError("a bug")

    pointers = dispatches(inbox, 3)
    with monkeypatch.context() as patched:
        patched.setattr(publisher, "offer", broken)
        for pointer in pointers:
            outbox.put(pointer)
            outbox.send()
    assert sorted(taken(queues, len(pointers))) == pairs(pointers)


def test_sending_reads_nothing(
    inbox: Inbox, publisher: Publisher, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    # py-amqp would, at each publish, and then wait for the rest of a frame of which a part is there
    pointers = dispatches(inbox, 2)
    assert publisher._connection is not None
    with monkeypatch.context() as patched:
        patched.setattr(
            publisher._connection.connection, "blocking_read", lambda _timeout=None: pytest.fail("it read")
        )
        assert publisher.offer(pointers) == []
    assert publisher.confirms(within_s=30) == []
    assert sorted(queues.take(Lane.HIGH)) == pairs(pointers)


def test_an_outbox_that_is_full_leaves_events_to_the_dispatcher(
    inbox: Inbox, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.webhooks.outbox._BOUND", 1)
    held = threading.Event()
    publish = resources.publisher.publish
    monkeypatch.setattr(resources.publisher, "publish", lambda dispatches: (held.wait(), publish(dispatches))[1])
    outbox = Outbox(resources.publisher, resources.engine)
    ids = [stored.id for stored in inbox.accept(*(incoming(entity_id=str(number)) for number in range(5)))]
    for event_id in ids:
        outbox.put(Dispatch(Pointer(event_id, 0), Lane.HIGH, 5))
    held.set()
    outbox.close()
    unpublished = inbox.sql("SELECT count(*) FROM event WHERE dispatched_at IS NULL")[0][0]
    assert unpublished >= 3
