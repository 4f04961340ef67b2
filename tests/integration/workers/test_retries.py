"""Retries on the row: what a handler that raises gets, and what is kept of what it raised."""

from typing import Any

import pytest

from app.errors import Permanent, Transient
from app.events.incoming import JsonObject
from app.handlers import HANDLERS
from app.handlers.registry import Handler, Retries
from app.models import Event, Outcome, Price, Status
from app.resources import Resources
from tasks.process import process
from tests.support.factories import Inbox, incoming


def failing(errors: list[Exception], **changes: Any) -> Handler:
    def rows(_data: JsonObject) -> list[dict[str, object]]:
        raise errors.pop(0) if len(errors) > 1 else errors[0]

    return Handler(Price, rows, **changes)


def run(resources: Resources, inbox: Inbox) -> Event:
    pointer = inbox.pointer(incoming())
    process(resources, [pointer])
    return inbox.event(pointer.event_id)


def test_a_remotes_retry_after_is_kept_on_the_row_and_tried_no_sooner(
    resources: Resources, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = [Transient("429 Too Many Requests", retry_after_s=3_600.0), Permanent("too soon")]
    monkeypatch.setitem(HANDLERS, "price", failing(errors))
    event = run(resources, inbox)
    # The second error would show that it was tried again within the task.
    assert (event.status, event.attempts, len(errors)) == (Status.PENDING, 1, 1)
    assert event.history[0]["wait_s"] >= 3_600
    ((later_s,),) = inbox.sql("SELECT extract(epoch FROM due_at - now()) FROM event")
    assert later_s > 3_500


def test_a_handlers_own_retries_count_and_not_the_settings(
    resources: Resources, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = failing([RuntimeError("the shop is closed")], retries=Retries(max_attempts=1))
    monkeypatch.setitem(HANDLERS, "price", once)
    assert run(resources, inbox).outcome is Outcome.DEAD


def test_a_dead_event_keeps_reason_fingerprint_and_payload(
    resources: Resources, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HANDLERS, "price", failing([Permanent("no such market"), Permanent("no such market")]))
    first, second = run(resources, inbox), run(resources, inbox)
    assert first.outcome is second.outcome is Outcome.DEAD
    assert first.error == "Permanent: no such market"
    assert '"amount"' in first.payload
    (note,) = first.history
    assert note["step"] == "dead"
    assert note["where"].startswith("tests/integration/workers/test_retries.py:")
    assert note["trace"] == second.history[0]["trace"]
