"""A periodic thread: again and again, whatever is raised, until it is stopped."""

import threading

import pytest
import structlog
from structlog.testing import capture_logs

from app.observability.periodic import PeriodicThread


def test_it_is_called_with_the_time_since_and_not_after_its_end() -> None:
    calls: list[float] = []
    thrice = threading.Event()

    def do(since_s: float) -> None:
        calls.append(since_s)
        if len(calls) == 3:
            thrice.set()

    thread = PeriodicThread("test", 0.001, do)
    assert calls == []
    thread.start()
    assert thrice.wait(10)
    thread.stop()
    count = len(calls)
    assert all(since_s >= 0.001 for since_s in calls)
    assert len(calls) == count
    thread.stop()


def test_what_is_raised_is_logged_once_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # A logger of its own: one that has logged before, in another test, keeps where it logged to.
    monkeypatch.setattr("app.observability.periodic._LOG", structlog.get_logger())
    calls = []
    thrice = threading.Event()

    def do(_since_s: float) -> None:
        calls.append(1)
        if len(calls) == 3:
            thrice.set()
        raise ValueError("of a test")

    thread = PeriodicThread("test", 0.001, do)
    with capture_logs() as lines:
        thread.start()
        assert thrice.wait(10)
        thread.stop()
    assert [(line["action"], line["name"]) for line in lines] == [("periodic_broken", "test")]


def test_once_more_is_at_the_end_even_where_the_time_was_never_up() -> None:
    calls: list[float] = []
    thread = PeriodicThread("test", 3600.0, calls.append, once_more=True)
    thread.start()
    thread.stop()
    assert len(calls) == 1
