"""The Celery application: its configuration, and that a task is the rule and nothing more."""

from app.broker import APPLY_EVENTS, PURGE, queue_for
from app.models import Lane, Outcome
from config.settings import QueueType, Settings
from tests.factories import Inbox, incoming


def test_the_tasks_do_what_their_names_say(inbox: Inbox) -> None:
    from tasks import worker  # noqa: PLC0415  # reads the settings when it is imported

    worker._after_fork()
    pointer = inbox.pointer(incoming())
    worker.apply_events([[str(pointer.event_id), 0]])
    assert inbox.event(pointer.event_id).outcome is Outcome.APPLIED
    worker.purge()
    worker._logs()
    worker._close()
    worker._after_fork()
    worker._close()
    assert {APPLY_EVENTS, PURGE} <= set(worker.celery.tasks)


def test_a_lanes_queue_is_the_same_for_everyone(settings: Settings) -> None:
    classic, quorum = (queue_for(Lane.HIGH, queue_type) for queue_type in QueueType)
    assert (classic.name, classic.queue_arguments) == ("events.high", {"x-max-priority": 9})
    assert (quorum.queue_arguments or {})["x-queue-type"] == "quorum"
