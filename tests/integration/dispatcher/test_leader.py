"""One leads; a standby takes over from one that stops, that dies, and that freezes."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry, SchedulingError
from sqlalchemy import Engine

from app.coordination.leader_election import Heartbeat, Role, Standby
from app.dispatcher.loop import Dispatcher
from app.errors import TiercelError, Unavailable
from app.models import Lane
from app.resources import Resources
from config.settings import Settings
from config.settings import settings as process_settings
from tasks.beat import LeadingScheduler
from tests.support.factories import Inbox, incoming
from tests.support.queues import Queues
from tests.support.waiting import wait_until


@pytest.fixture
def two(engine: Engine) -> Iterator[tuple[Standby, Standby]]:
    made = Standby(engine, Role.BEAT), Standby(engine, Role.BEAT)
    yield made
    for standby in made:
        standby.close()


def leads(standby: Standby) -> bool:
    return standby.step() is not None


def test_only_one_leads_until_it_closes(two: tuple[Standby, Standby]) -> None:
    first, second = two
    assert (first.step(), second.step(), first.step()) == (True, None, False)
    first.close()
    wait_until(lambda: leads(second))
    with pytest.raises(Unavailable):
        _ = first.connection


def test_a_leader_that_gives_no_sign_of_life_is_replaced(two: tuple[Standby, Standby], inbox: Inbox) -> None:
    first, second = two
    assert first.step() is True
    for _ in range(3):
        assert second.step() is None
    # When the first one freezes: its session stays, and its lock
    inbox.sql("UPDATE leader SET seen_at = now() - interval '3 s'")
    assert second.step() is None
    second.step()
    wait_until(lambda: leads(second))
    # Then it learns so when it wakes up, and stands by
    with pytest.raises(TiercelError):
        first.step()
    wait_until(lambda: first.step() is None)


def test_a_leader_that_has_just_begun_is_not_taken_for_a_frozen_one(
    two: tuple[Standby, Standby], inbox: Inbox, engine: Engine
) -> None:
    first, second = two
    inbox.sql("INSERT INTO leader VALUES ('BEAT', now() - interval '1 h')")
    with engine.connect() as other:
        other.exec_driver_sql(f"SELECT pg_advisory_lock({Role.BEAT.value})")
        assert second.step() is None
        other.exec_driver_sql(f"SELECT pg_advisory_unlock({Role.BEAT.value})")
        other.commit()
    assert first.step() is True
    assert second.step() is None
    assert first.step() is False


def test_a_lost_connection_is_the_end_of_leading(two: tuple[Standby, Standby], inbox: Inbox) -> None:
    first, second = two
    first.step()
    inbox.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
    wait_until(lambda: leads(second))
    with pytest.raises(TiercelError):
        first.step()


def test_a_heart_beats_while_the_work_goes_on_and_only_then(engine: Engine, inbox: Inbox) -> None:
    def seen() -> list[Any]:
        return inbox.sql("SELECT seen_at FROM leader")

    with Heartbeat(engine, Role.DISPATCHER, within_s=0.6) as heart:
        heart.alive()
        wait_until(lambda: bool(seen()))
        # The work stops: two beats later the heart does, too.
        last = [seen()]

        def still() -> bool:
            time.sleep(1.2)  # longer than two beats: what must not happen can't be waited for
            last.append(seen())
            return last[-1] == last[-2]

        wait_until(still)
        heart.alive()
        wait_until(lambda: seen() != last[-1])


def test_a_frozen_dispatcher_is_replaced_by_the_one_that_stands_by(
    inbox: Inbox, settings: Settings, queues: Queues, engine: Engine
) -> None:
    # Given a leader that holds the lock and does nothing
    frozen = Standby(engine, Role.DISPATCHER)
    assert frozen.step() is True
    resources = Resources.open(settings)
    dispatcher = Dispatcher(resources)
    thread = threading.Thread(target=dispatcher.run, daemon=True)
    thread.start()
    inbox.sql("UPDATE lane SET open = false")
    inbox.accept(incoming())
    wait_until(lambda: queues.depth(Lane.HIGH) == 1)
    dispatcher.stopping.set()
    thread.join()
    resources.close()
    frozen.close()


class Recorder(LeadingScheduler):
    """A beat that notes what it would start, in place of telling the broker."""

    def __init__(self, started: list[str], celery: Celery) -> None:
        self.started, self.broker_is_away = started, False
        super().__init__(celery)

    def apply_async(self, entry: ScheduleEntry, *_: Any, **__: Any) -> Any:
        if self.broker_is_away:
            raise SchedulingError("no route to host")
        self.started.append(str(entry.name))


@pytest.fixture
def beats(settings: Settings, engine: Engine) -> Iterator[list[Recorder]]:
    celery = Celery("beats", set_as_current=False)
    celery.conf.beat_schedule = {"purge": {"task": "purge", "schedule": 3600.0}}
    process_settings.cache_clear()
    started: list[str] = []
    made = [Recorder(started, celery) for _ in range(2)]
    yield made
    for beat in made:
        beat.close()


def turn(*beats: Recorder) -> None:
    """Let each beat look a few times."""
    for _ in range(4):
        for beat in beats:
            beat.tick()


def test_of_two_beats_one_starts_the_work_and_once_a_period(beats: list[Recorder], inbox: Inbox) -> None:
    turn(*beats)
    assert beats[0].started == ["purge"]
    # When the other takes over, the work isn't due again
    beats[0]._standby.close()
    turn(beats[1], beats[0])
    assert beats[0].started == ["purge"]
    # But it is once its period is over, whoever leads
    inbox.sql("UPDATE periodic_run SET ran_at = now() - interval '2 h'")
    beats[1]._standby.close()
    turn(beats[0], beats[1])
    assert beats[0].started == ["purge"] * 2


def test_a_beat_that_wakes_up_late_finds_its_turn_taken(beats: list[Recorder], inbox: Inbox) -> None:
    turn(*beats)
    entry = next(iter(beats[0].schedule.values()))
    beats[0].apply_entry(entry)
    assert beats[0].started == ["purge"]
    inbox.sql("UPDATE periodic_run SET ran_at = now() - interval '50 min'")
    entry.last_run_at = datetime.now(UTC) - timedelta(hours=2)
    beats[0].apply_entry(entry)
    assert beats[0].started == ["purge"] * 2


def test_a_beat_waits_for_a_database_that_is_away(beats: list[Recorder], inbox: Inbox) -> None:
    turn(beats[0])
    inbox.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
    assert beats[0].tick() > 0
    wait_until(lambda: beats[0]._standby._leads or beats[0].tick() < 0)
    assert beats[0].started == ["purge"]


def test_work_that_the_broker_did_not_take_is_started_when_it_does(beats: list[Recorder]) -> None:
    beats[0].broker_is_away = True
    turn(beats[0])
    assert beats[0].started == []
    beats[0].broker_is_away = False
    turn(beats[0])
    assert beats[0].started == ["purge"]
