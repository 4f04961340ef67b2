"""What a process holds open: pinged and closed together; what the threads of the receiver do when something breaks."""

import threading

import pytest
from sqlalchemy import text

from app import endpoints
from app.bare import work
from app.db import transaction
from app.errors import ConfigInvalid, Permanent, SourceUnknown, Unavailable
from app.inbox.store import Kept, NewEvent, Stored
from app.models import Lane, Status
from app.pointers import Dispatch, Pointer
from app.resources import Resources
from app.web.groupcommit import GroupCommit
from app.web.outbox import Outbox
from config.settings import Settings
from tests.factories import Inbox, incoming, whsec
from tests.waiting import wait_until


def test_a_ping_names_what_is_wrong(resources: Resources, settings: Settings) -> None:
    assert resources.ping() == {"database": None, "broker": None, "redis": None}
    gone = {"database_url": "postgresql+psycopg2://127.0.0.1:1/x", "broker_url": "amqp://127.0.0.1:1//"}
    away = Resources.open(settings.model_copy(update={**gone, "redis_url": "redis://127.0.0.1:1/0"}))
    wrong = away.ping()
    away.close()
    assert all(wrong.values())
    assert "Unavailable" in str(wrong["database"])


def stored(event: NewEvent) -> Stored:
    return Stored(Kept.NEW, event.id, Status.PENDING, None, Lane.HIGH)


def test_one_bad_event_harms_only_itself(inbox: Inbox) -> None:
    held, entered = threading.Event(), threading.Event()

    def store(events: list[NewEvent]) -> list[Stored]:
        entered.set()
        held.wait()
        if any(event.payload == "bad" for event in events):
            raise ValueError("a bad event")
        return [stored(event) for event in events]

    commits = GroupCommit(store, timeout_s=10)  # type: ignore[arg-type]  # a list is a sequence
    events = [inbox.prepared(incoming()) for _ in range(5)]
    bad = inbox.prepared(incoming())
    object.__setattr__(bad, "payload", "bad")
    answers: list[object] = []

    def send(event: NewEvent) -> None:
        try:
            answers.append(commits.store(event).kept)
        except Permanent as error:
            answers.append(error)

    threads = [threading.Thread(target=send, args=(event,)) for event in [*events, bad]]
    threads[0].start()
    entered.wait()
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: len(commits._waiting) == 5)
    held.set()
    for thread in threads:
        thread.join()
    commits.close()
    assert answers.count(Kept.NEW) == 5
    assert "a bad event" in str(next(answer for answer in answers if isinstance(answer, Permanent)))


def test_a_request_that_gave_up_waiting_is_not_stored_later(inbox: Inbox) -> None:
    held, entered = threading.Event(), threading.Event()
    groups: list[int] = []

    def store(events: list[NewEvent]) -> list[Stored]:
        entered.set()
        held.wait()
        groups.append(len(events))
        return [stored(event) for event in events]

    commits = GroupCommit(store, timeout_s=0.2)  # type: ignore[arg-type]  # a list is a sequence

    def give_up() -> None:
        with pytest.raises(Unavailable):
            commits.store(inbox.prepared(incoming()))

    first = threading.Thread(target=give_up)
    first.start()
    entered.wait()
    give_up()
    first.join()
    held.set()
    commits.close()
    assert groups == [1]


def test_an_outbox_that_is_full_leaves_events_to_the_dispatcher(
    inbox: Inbox, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.outbox._BOUND", 1)
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


def test_sources_are_refused_by_name(inbox: Inbox) -> None:
    cases = [
        ("UPPER", "standard", {}),
        ("a", "nothing", {}),
        ("a", "standard", {"color": 1}),
        ("shop", "standard", {}),
    ]
    for name, kind, config in cases:
        with pytest.raises(ConfigInvalid), transaction(inbox.engine) as session:
            endpoints.add(session, inbox.vault, name, kind, whsec(), config)
    with pytest.raises(SourceUnknown), transaction(inbox.engine) as session:
        endpoints.find(session, "nobody")


def test_a_source_that_cannot_be_read_closes_no_door_but_its_own(inbox: Inbox) -> None:
    with transaction(inbox.engine) as session:
        endpoints.add(session, inbox.vault, "other", "standard", whsec(), {})
    with work(inbox.engine) as connection:
        connection.execute(text("UPDATE source SET kind = 'gone' WHERE name = 'other'"))
    with transaction(inbox.engine) as session:
        live, gone, _ = endpoints.changed_since(session, inbox.vault, inbox.source.created_at)
    assert ([endpoint.name for endpoint in live], gone) == (["shop"], ["other"])
