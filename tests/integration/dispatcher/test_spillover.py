"""Spillover: a second group of workers on the high queue, of a lower consumer priority, helps in a burst only."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from app.messaging.pointer import Dispatch, Pointer
from app.models import Lane
from app.resources import Resources
from config.settings import Settings
from tests.support.factories import Inbox, incoming
from tests.support.queues import Queues
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]
DEDICATED, HELPER = "dedicated@spillover", "helper@spillover"
BURST = 500


def worker(name: str, consumer_priority: int) -> subprocess.Popen[bytes]:
    words = f"--app tasks.worker:celery --quiet worker --queues events.high --hostname {name} --concurrency 1"
    env = {**os.environ, "CONSUMER_PRIORITY": str(consumer_priority)}
    program = Path(sys.executable).parent / "celery"
    argv = [str(program), *words.split(), "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    return subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def groups(settings: Settings, queues: Queues) -> Iterator[Celery]:
    """Both groups, listening; what asks them how much each has done."""
    running = [worker(DEDICATED, 10), worker(HELPER, 0)]
    asking = Celery("asking", broker=settings.broker_url, set_as_current=False)
    asking.conf.update(control_queue_durable=True, control_queue_exclusive=False)
    try:
        wait_until(lambda: queues.channel.queue_declare("events.high", passive=True).consumer_count == len(running))
        wait_until(lambda: done(asking).keys() == {DEDICATED, HELPER})
        yield asking
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=60)
        asking.close()


def done(asking: Celery) -> dict[str, int]:
    """Return how many messages each worker has taken since it began."""
    stats = asking.control.inspect([DEDICATED, HELPER], timeout=5.0).stats() or {}
    return {name: sum(found["total"].values()) for name, found in stats.items()}


def idle(asking: Celery) -> bool:
    """Tell whether neither worker has a message in hand: an event ends before its message is acked."""
    return asking.control.inspect([DEDICATED, HELPER], timeout=5.0).active() == {DEDICATED: [], HELPER: []}


def test_the_helper_works_in_a_burst_and_the_dedicated_worker_else(
    inbox: Inbox, resources: Resources, groups: Celery
) -> None:
    def send(first: int, count: int) -> None:
        events = [incoming(entity_id=str(number)) for number in range(first, first + count)]
        stored = inbox.accept(*events)
        resources.publisher.publish([Dispatch(Pointer(event.id, 0), Lane.HIGH, 5) for event in stored])

    def ended(count: int) -> bool:
        return bool(inbox.sql("SELECT count(*) FROM event WHERE finished_at IS NOT NULL") == [(count,)])

    # One after another: each goes to the dedicated worker
    for number in range(8):
        send(number, 1)
        wait_until(lambda count=number + 1: ended(count) and idle(groups))  # type: ignore[misc]  # bound now
    assert done(groups) == {DEDICATED: 8, HELPER: 0}
    # All at once: the helper takes what the dedicated one has no hand for
    send(8, BURST)
    wait_until(lambda: ended(8 + BURST))
    assert done(groups)[HELPER] > 0
