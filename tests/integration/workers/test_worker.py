"""The Celery application: its configuration, and that a task is the rule and nothing more."""

import subprocess
import sys

from app.messaging.messages import APPLY_EVENTS, PURGE
from app.messaging.publisher import queue_for
from app.models import Lane, Outcome
from config.settings import QueueType, Settings
from tests.support.factories import Inbox, incoming

# A process of its own, for what follows a fork bounds its memory and lets it count.
AS_A_WORKER = f"""
import sys
from tasks import worker
assert {{{APPLY_EVENTS!r}, {PURGE!r}}} <= set(worker.celery.tasks)
worker._logs()
worker._after_fork()
worker.apply_events([[sys.argv[1], 0]])
worker.purge()
worker._close()
worker._after_fork()
worker._close()
"""


def test_the_tasks_do_what_their_names_say(inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming())
    subprocess.run([sys.executable, "-c", AS_A_WORKER, str(pointer.event_id)], check=True)
    assert inbox.event(pointer.event_id).outcome is Outcome.APPLIED


def test_a_lanes_queue_is_the_same_for_everyone(settings: Settings) -> None:
    classic, quorum = (queue_for(Lane.HIGH, queue_type) for queue_type in QueueType)
    assert (classic.name, classic.queue_arguments) == ("events.high", {"x-max-priority": 9})
    assert (quorum.queue_arguments or {})["x-queue-type"] == "quorum"
