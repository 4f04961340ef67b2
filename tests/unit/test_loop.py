"""The loop: requests that wait keep no other waiting, and nothing that one of them does ends another."""

import os
import select
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from typing import cast

import pytest

from app.inbox.prepare import NewEvent
from app.inbox.store import Stored, StoreResult
from app.models import Lane, Status
from app.web.server import loop
from app.web.server.loop import Loop
from app.web.webhooks.group_commit import GroupCommit
from tests.support.waiting import wait_until


class Running:
    """A loop in a thread of its own, with one thread for what is done elsewhere."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.broken = 0
        self.loop = Loop(self._break)
        self._given: deque[Sequence[Callable[[], None]]] = deque()
        self._more = os.eventfd(0)
        self._ended = False
        self._threads = [threading.Thread(target=run, name=run.__name__) for run in (self._run, self._work)]
        for thread in self._threads:
            thread.start()

    def begin(self, *works: Callable[[], None]) -> None:
        """Begin all of these as one poll would find them."""
        self._given.append(works)
        os.eventfd_write(self._more, 1)

    def end(self) -> None:
        self._ended = True
        self.begin()
        self.loop.jobs.put(lambda: None)
        for thread in self._threads:
            thread.join()

    def _break(self) -> None:
        self.broken += 1

    def _work(self) -> None:
        while not self._ended:
            self.loop.jobs.get()()

    def _run(self) -> None:
        self.loop.enter()
        poll = select.epoll()
        for fd in (self._more, self.loop.fileno()):
            poll.register(fd, select.EPOLLIN)
        while not self._ended:
            for fd, _ in poll.poll(self.loop.pause_s()):
                if fd == self._more:
                    os.eventfd_read(fd)
                else:
                    self.loop.heard()
            while self._given:
                for work in self._given.popleft():
                    self.loop.begin(work)
            self.loop.go_on()


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.end()


def test_one_that_waits_lets_others_begin_and_goes_on_when_it_is_told(running: Running) -> None:
    told: list[loop.LoopEvent] = []

    def waits() -> None:
        told.append(loop.event())
        running.seen.append(told[0].wait())

    running.begin(waits)
    running.begin(lambda: running.seen.append("other"))
    wait_until(lambda: running.seen == ["other"])
    told[0].set()
    wait_until(lambda: running.seen == ["other", True])


def test_an_event_that_is_set_already_is_not_waited_for_until_it_is_cleared(running: Running) -> None:
    def waits() -> None:
        awake = loop.event()
        awake.set()
        running.seen.append(awake.wait())
        awake.clear()
        # It was told once before: that is no reason to go on.
        running.seen.append(awake.wait(0.1))

    running.begin(waits)
    wait_until(lambda: running.seen == [True, False])


def test_a_wait_ends_in_its_time_also_where_nothing_else_happens(running: Running) -> None:
    running.begin(lambda: running.seen.append(loop.event().wait(0.05)))
    wait_until(lambda: running.seen == [False])


def test_who_lets_others_first_goes_behind_all_that_came_with_it(running: Running) -> None:
    def first() -> None:
        loop.let_others_first()
        running.seen.append("first")
        loop.afterwards(lambda: running.seen.append("afterwards"))
        running.seen.append("answered")

    running.begin(first, *(partial(running.seen.append, number) for number in range(3)))
    wait_until(lambda: running.seen == [0, 1, 2, "first", "answered", "afterwards"])


def test_what_is_done_elsewhere_is_done_by_a_thread_in_the_context_of_who_asked(running: Running) -> None:
    told: ContextVar[str] = ContextVar("told")
    goes_on = threading.Event()

    def slow() -> str:
        goes_on.wait()
        return f"{threading.current_thread().name} {told.get()}"

    def fails() -> None:
        raise KeyError

    def asks() -> None:
        told.set("of mine")
        running.seen.append(loop.elsewhere(slow))
        with pytest.raises(KeyError):
            loop.elsewhere(fails)
        running.seen.append("raised")

    running.begin(asks)
    running.begin(lambda: running.seen.append("other"))
    wait_until(lambda: running.seen == ["other"])
    goes_on.set()
    wait_until(lambda: running.seen == ["other", "_work of mine", "raised"])


def test_whatever_one_raises_the_others_go_on(running: Running) -> None:
    def breaks() -> None:
        raise SystemExit

    def breaks_later() -> None:
        loop.event().wait(0.01)
        raise KeyError

    running.begin(breaks, breaks_later, lambda: running.loop.later(0.02, breaks))
    wait_until(lambda: running.broken == 3)
    running.begin(lambda: running.seen.append("other"))
    wait_until(lambda: running.seen == ["other"])


def test_who_is_woken_while_the_loop_is_just_being_told_is_not_left(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[loop.LoopEvent] = []
    read = os.eventfd_read

    def read_late(fd: int) -> int:
        number = read(fd)
        if fd == running.loop.fileno() and len(told) == 2:
            # Another thread, just now: as if it had written before the reading.
            another = threading.Thread(target=told[1].set)
            another.start()
            another.join()
            number += read(fd) if select.select([fd], [], [], 0)[0] else 0
        return number

    def waits() -> None:
        told.append(loop.event())
        running.seen.append(told[-1].wait())

    running.begin(waits, waits)
    wait_until(lambda: len(told) == 2)
    monkeypatch.setattr("app.web.server.loop.os.eventfd_read", read_late)
    told[0].set()
    wait_until(lambda: running.seen == [True, True])
    monkeypatch.undo()
    # Who is woken afterwards is told again.
    running.begin(waits)
    wait_until(lambda: len(told) == 3)
    told[2].set()
    wait_until(lambda: running.loop._told is False and len(running.seen) == 3)


def test_in_a_thread_without_a_loop_everything_is_done_at_once() -> None:
    seen: list[object] = []
    loop.let_others_first()
    loop.afterwards(lambda: seen.append(1))
    assert loop.elsewhere(threading.current_thread) is threading.current_thread()
    assert isinstance(loop.event(), threading.Event)
    assert seen == [1]


EVENT = cast(NewEvent, object())


def test_requests_that_came_together_share_one_commit_which_one_of_them_does(running: Running) -> None:
    groups: list[tuple[str, int]] = []
    let = threading.Event()
    let.set()

    def store(events: Sequence[NewEvent], until: float) -> list[Stored]:  # noqa: ARG001  # the store's own
        let.wait()
        groups.append((threading.current_thread().name, len(events)))
        return [Stored(StoreResult.NEW, uuid.uuid4(), Status.PENDING, None, Lane.HIGH) for _ in events]

    commits = GroupCommit(store, lambda: running.seen.append("published"), timeout_s=5)

    def request() -> None:
        (stored,) = commits.store([EVENT])
        running.seen.append(stored.kept)

    try:
        # The thread of the group commit does the first.
        running.begin(request)
        wait_until(lambda: StoreResult.NEW in running.seen)
        wait_until(lambda: "published" in running.seen)
        running.seen.clear()
        running.begin(*[request] * 5)
        wait_until(lambda: running.seen == ["published", *[StoreResult.NEW] * 5])
        running.seen.clear()
        running.begin(request)
        # Whoever is alone is answered first.
        wait_until(lambda: running.seen == [StoreResult.NEW, "published"])
        assert groups == [("group-commit", 1), ("_run", 5), ("_run", 1)]
        # A thread's request, and the loop's behind it: each hears of its own.
        running.seen.clear()
        let.clear()
        thread = threading.Thread(target=request)
        thread.start()
        wait_until(lambda: commits._leading)
        running.begin(request)
        wait_until(lambda: len(commits._waiting) == 1)
        let.set()
        thread.join()
        wait_until(lambda: running.seen.count(StoreResult.NEW) == 2)
    finally:
        let.set()
        commits.close()
