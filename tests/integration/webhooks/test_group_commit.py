"""The group commit: one commit for all in flight, led by one of them, and nobody waits longer than the time-out."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from app.errors import Permanent, Unavailable
from app.inbox.prepare import NewEvent
from app.inbox.store import Stored, StoreResult
from app.models import Lane, Status
from app.web.webhooks.db_watchdog import Watchdog
from app.web.webhooks.group_commit import GroupCommit
from tests.support.factories import Inbox, incoming
from tests.support.waiting import wait_until


@dataclass
class Store:
    """Stands for the database: it stores when it is let, and fails where it is told to."""

    let: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    groups: list[tuple[str, int]] = field(default_factory=list)
    """Who committed, and how many."""
    away: bool = False
    patient: bool = False
    """It doesn't heed the time."""

    def __call__(self, events: Sequence[NewEvent], until: float) -> list[Stored]:
        self.entered.release()
        if not self.let.wait(None if self.patient else max(until - time.monotonic(), 0)) or self.away:
            raise Unavailable("away")
        if any(event.payload == "bad" for event in events):
            raise ValueError("a bad event")
        self.groups.append((threading.current_thread().name, len(events)))
        return [Stored(StoreResult.NEW, event.id, Status.PENDING, None, Lane.HIGH) for event in events]


@pytest.fixture
def store() -> Store:
    made = Store()
    made.let.set()
    return made


@pytest.fixture
def commits(store: Store) -> Iterator[GroupCommit]:
    made = GroupCommit(store, lambda: None, timeout_s=2)
    yield made
    store.let.set()
    made.close()


@dataclass
class Sent:
    """Requests in threads of their own, and what they were answered."""

    commits: GroupCommit
    threads: list[threading.Thread] = field(default_factory=list)
    answers: list[object] = field(default_factory=list)

    def send(self, *events: NewEvent) -> None:
        thread = threading.Thread(target=self._run, args=(events,), name=f"request {len(self.threads)}")
        self.threads.append(thread)
        thread.start()

    def _run(self, events: Sequence[NewEvent]) -> None:
        try:
            self.answers.append([stored.kept for stored in self.commits.store(events)])
        except (Permanent, Unavailable) as error:
            self.answers.append(error)

    def end(self) -> list[object]:
        for thread in self.threads:
            thread.join()
        return self.answers


@pytest.fixture
def event(inbox: Inbox) -> Callable[[], NewEvent]:
    return lambda: inbox.prepared(incoming())


def behind_one(store: Store, commits: GroupCommit, events: Sequence[NewEvent]) -> Sent:
    """Let the first event's commit wait, and the other requests with it, one event each."""
    commits.store([events[0]])
    assert store.entered.acquire(timeout=5)
    store.let.clear()
    sent = Sent(commits)
    sent.send(events[0])
    assert store.entered.acquire(timeout=5)
    for one in events[1:]:
        sent.send(one)
    wait_until(lambda: len(commits._waiting) == len(events) - 1)
    return sent


def test_requests_that_arrive_during_a_commit_share_the_next_and_one_of_them_leads(
    store: Store, commits: GroupCommit, event: Callable[[], NewEvent]
) -> None:
    sent = behind_one(store, commits, [event() for _ in range(6)])
    store.let.set()
    assert sent.end() == [[StoreResult.NEW]] * 6
    assert store.groups == [("group-commit", 1), ("request 0", 1), ("request 5", 5)]


def test_one_bad_event_harms_only_itself(store: Store, commits: GroupCommit, event: Callable[[], NewEvent]) -> None:
    bad = event()
    object.__setattr__(bad, "payload", "bad")
    sent = behind_one(store, commits, [*(event() for _ in range(5)), bad])
    store.let.set()
    answers = sent.end()
    assert answers.count([StoreResult.NEW]) == 5
    assert "a bad event" in str(next(answer for answer in answers if isinstance(answer, Permanent)))


def test_a_request_with_several_events_is_stored_whole_or_not_at_all(
    store: Store, commits: GroupCommit, event: Callable[[], NewEvent]
) -> None:
    bad = event()
    object.__setattr__(bad, "payload", "bad")
    with pytest.raises(Permanent, match="a bad event"):
        commits.store([event(), bad])
    assert [stored.kept for stored in commits.store([event(), event()])] == [StoreResult.NEW] * 2
    assert [count for _, count in store.groups] == [2]


def test_a_request_that_gave_up_waiting_is_not_stored_later(store: Store, event: Callable[[], NewEvent]) -> None:
    commits = GroupCommit(store, lambda: None, timeout_s=0.3)
    store.patient = True
    sent = behind_one(store, commits, [event() for _ in range(3)])
    wait_until(lambda: len(sent.answers) == 2)
    store.let.set()
    answers = sent.end()
    commits.close()
    assert [type(answer) for answer in answers[:2]] == [Unavailable] * 2
    assert store.groups == [("group-commit", 1), ("request 0", 1)]


def test_in_trouble_the_thread_commits_until_it_goes_well_again(
    store: Store, commits: GroupCommit, event: Callable[[], NewEvent]
) -> None:
    commits.store([event()])
    store.away = True
    for _ in range(2):
        with pytest.raises(Unavailable):
            commits.store([event()])
    store.away = False
    commits.store([event()])
    commits.store([event()])
    assert [name for name, _ in store.groups] == ["group-commit", "group-commit", threading.current_thread().name]


def test_a_connection_that_broke_is_tried_again_by_the_thread(
    commits: GroupCommit, store: Store, event: Callable[[], NewEvent]
) -> None:
    sent = behind_one(store, commits, [event()])
    store.away = True
    store.let.set()
    wait_until(lambda: not commits._trusted)
    store.away = False
    (answer,) = sent.end()
    assert answer == [StoreResult.NEW] or isinstance(answer, Unavailable)
    commits.store([event()])


def test_many_requests_at_once_all_end(commits: GroupCommit, event: Callable[[], NewEvent]) -> None:
    sent = Sent(commits)
    for _ in range(300):
        sent.send(event())
    assert sent.end() == [[StoreResult.NEW]] * 300


def test_after_the_end_nothing_is_taken(store: Store, event: Callable[[], NewEvent]) -> None:
    commits = GroupCommit(store, lambda: None, timeout_s=2)
    sent = behind_one(store, commits, [event() for _ in range(4)])
    closing = threading.Thread(target=commits.close)
    closing.start()
    wait_until(lambda: commits._closed)
    with pytest.raises(Unavailable):
        commits.store([event()])
    store.let.set()
    closing.join()
    assert sent.end() == [[StoreResult.NEW]] * 4


def test_a_connection_that_doesn_t_answer_in_time_is_cut_and_no_other() -> None:
    watchdog = Watchdog()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with watchdog.watching(ours.fileno(), time.monotonic() + 60):
            pass
        with watchdog.watching(ours.fileno(), time.monotonic()):
            assert ours.recv(1) == b""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with watchdog.watching(ours.fileno(), time.monotonic() + 0.01):
            theirs.send(b"x")
            assert ours.recv(1) == b"x"
        watchdog.close()
        theirs.send(b"y")
        assert ours.recv(1) == b"y"
