"""Traces within one process: what each event's way leaves, and that nobody waits for an endpoint."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.dispatcher.loop import Dispatcher
from app.events.incoming import Incoming
from app.handlers import HANDLERS
from app.handlers.registry import Handler, Row
from app.inbox.ids import new_event_id
from app.inbox.replay import replay
from app.messaging.pointer import Pointer
from app.models import Outcome
from app.observability import tracing
from app.resources import Resources
from config.settings import Settings
from config.settings import settings as process_settings
from tasks.process import process
from tests.support.factories import Inbox, incoming
from tests.support.spans import Collector, collector
from tests.support.waiting import free_port

SENDER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


def begin(monkeypatch: pytest.MonkeyPatch, url: str, sampler: str = "always_on") -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    process_settings.cache_clear()
    tracing.begin("test")


@pytest.fixture(autouse=True)
def ended(settings: Settings) -> Iterator[None]:
    yield
    tracing.end()
    logging.getLogger("opentelemetry").setLevel(logging.NOTSET)
    process_settings.cache_clear()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as found:
        begin(monkeypatch, found.url)
        yield found


def _wait(let_go: threading.Event) -> None:
    let_go.wait()


def _meet(events: int) -> None:
    """Leave a worker's batch of sampled events."""
    with tracing.work(batch=True):
        work = tracing.working()
        assert work is not None
        for _ in range(events):
            work.met(new_event_id(), {"context": SENDER, "queued_at": 0.0})


def accept(inbox: Inbox, *events: Incoming) -> list[Pointer]:
    """Store events, each as one request of its own."""
    pointers = []
    for event in events:
        with tracing.request():
            prepared = replace(inbox.prepared(event), trace=tracing.carried())
            tracing.answered({}, sender=SENDER, error=None)
        pointers += [Pointer(stored.id, 0) for stored in inbox.store(prepared)]
    return pointers


def test_an_event_is_one_trace_from_its_request_to_its_outcome(
    inbox: Inbox, resources: Resources, seen: Collector
) -> None:
    (pointer,) = accept(inbox, incoming())
    process(resources, [pointer])
    tracing.end()
    spans = {span.name: span for span in seen.event(str(pointer.event_id))}
    root, worked = spans["receive"], spans["process"]
    # The sender's own trace is linked to, and decides nothing: its flag says that nobody samples.
    assert root.parent == ""
    assert root.links == ("0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331",)
    assert (worked.parent, spans["queue"].parent) == (root.id, root.id)
    assert {spans[name].parent for name in ("lock", "claim", "apply", "finish")} == {worked.id}
    assert spans["queue"].ended == worked.began
    told = {name.removeprefix("tiercel."): value for name, value in worked.attributes.items()}
    assert told.pop("lock_wait_ms") >= 0
    assert told == {
        "event_id": str(pointer.event_id),
        "source_id": inbox.source.id,
        "lane": "high",
        "type": "price",
        "operation": "update",
        "outcome": "applied",
        "attempts": 1,
        "dispatches": 0,
        "generation": 0,
        "replays": 0,
    }


def test_a_batch_has_a_span_of_its_own_and_each_event_the_whole_of_its_way(
    inbox: Inbox, resources: Resources, seen: Collector
) -> None:
    pointers = accept(inbox, *(incoming(entity_id=str(number)) for number in range(3)))
    process(resources, pointers)
    tracing.end()
    (batch,) = [span for span in seen.spans if span.name == "batch"]
    worked = [span for span in seen.spans if span.name == "process"]
    assert len({span.trace for span in (batch, *worked)}) == 4
    assert {link for span in worked for link in span.links} == {f"{batch.trace}/{batch.id}"}
    assert sorted(batch.links) == sorted(f"{span.trace}/{span.parent}" for span in worked)
    for span in (batch, *worked):
        names = {step.name for step in seen.of(span.trace) if step.parent == span.id}
        assert names == {"lock", "claim", "apply", "finish"}


def test_a_pointer_that_is_published_again_and_a_replay_go_on_in_the_same_trace(
    inbox: Inbox, resources: Resources, seen: Collector, queues: Any
) -> None:
    (pointer,) = accept(inbox, incoming())
    # Given a pointer that nobody worked on
    inbox.sql("UPDATE event SET dispatched_at = now() - interval '1 h'")
    Dispatcher(resources).step()
    process(resources, [pointer])
    # When the event runs again
    with inbox.engine.begin() as connection:
        replay(connection, pointer.event_id)  # type: ignore[arg-type]  # a connection executes, too
    Dispatcher(resources).step()
    process(resources, [pointer])
    tracing.end()
    spans = seen.event(str(pointer.event_id))
    (root,) = [span for span in spans if span.name == "receive"]
    published = [span for span in spans if span.name == "publish"]
    worked = sorted((span for span in spans if span.name == "process"), key=lambda span: span.began)
    assert [span.parent for span in (*published, *worked)] == [root.id] * 4
    assert [span.attributes["tiercel.dispatches"] for span in worked] == [1, 0]
    assert [span.attributes["tiercel.replays"] for span in worked] == [0, 1]
    assert [span.attributes["tiercel.outcome"] for span in worked] == ["applied", "unchanged"]


def test_an_event_that_ends_by_a_newer_one_has_its_end_in_its_trace(
    inbox: Inbox, resources: Resources, seen: Collector, queues: Any
) -> None:
    old, new = accept(inbox, incoming(version=1), incoming(version=2))
    Dispatcher(resources).step()
    process(resources, [new, old])
    Dispatcher(resources).step()
    tracing.end()
    assert inbox.event(old.event_id).outcome is Outcome.SUPERSEDED
    (end,) = [span for span in seen.spans if span.name == "end"]
    (root,) = [span for span in seen.of(end.trace) if span.name == "receive"]
    assert end.parent == root.id
    assert end.attributes == {"tiercel.event_id": str(old.event_id), "tiercel.outcome": "superseded"}


def test_a_failure_is_named_by_its_class_alone(
    inbox: Inbox, resources: Resources, seen: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_data: Any) -> list[Row]:
        raise ValueError("jane@example.com")

    monkeypatch.setitem(HANDLERS, "price", Handler(HANDLERS["price"].model, fails))
    pointers = accept(inbox, *(incoming(entity_id=str(number)) for number in range(2)))
    process(resources, pointers)
    tracing.end()
    worked = [span for span in seen.spans if span.name == "process"]
    alone = [span for span in worked if not span.links]
    assert [(span.attributes["tiercel.outcome"], span.failed) for span in alone] == [("retry", "ValueError")] * 2
    assert {span.attributes["tiercel.outcome"] for span in worked if span.links} == {"unfinished"}
    assert b"jane" not in b"".join(seen.bodies)


def test_what_is_not_sampled_carries_nothing_and_leaves_nothing(
    inbox: Inbox, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collector() as found:
        begin(monkeypatch, found.url, "parentbased_always_off")
        (pointer,) = accept(inbox, incoming())
        process(resources, [pointer])
        tracing.end()
    event = inbox.event(pointer.event_id)
    assert (event.trace, event.outcome) == (None, Outcome.APPLIED)
    assert found.spans == []


def test_off_nothing_of_it_is_imported() -> None:
    code = (
        "import sys; from app.observability import tracing; tracing.begin('x'); import app.web.factory, tasks.worker\n"
        "with tracing.request(), tracing.work(), tracing.step('x'): assert tracing.carried() is None\n"
        "tracing.ended((), 'x'); tracing.note('x', 'x', 0, {}); tracing.answered({}, sender=None, error=None)\n"
        "lazy = ('app.observability.tracing.', 'google.protobuf')\n"
        "assert not [name for name in sys.modules if name.startswith(lazy)]\n"
        # redis-py imports the part for metrics by itself where it is installed.
        "assert not {'opentelemetry.sdk.trace', 'opentelemetry.exporter'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("hangs", [True, False])
def test_an_endpoint_that_hangs_or_is_dead_costs_spans_and_one_line(
    hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    with collector(lambda _self, _body: _wait(let_go)) as found, capture_logs() as logs:
        begin(monkeypatch, found.url if hangs else f"http://127.0.0.1:{free_port()}")
        with tracing.request():
            context = tracing.carried()
        assert context is not None
        # When more spans end than there is room for
        for _ in range(100):
            _meet(100)
        for _ in range(10_000):
            tracing.note("publish", context, 0, {})
        recorder = tracing._recorder
        assert recorder is not None
        assert sum(noted.weight() for noted in recorder._outlet._noted) <= 2_048
        began = time.monotonic()
        tracing.end()
        waited_s = time.monotonic() - began
        let_go.set()
    # The one time that this is about: a process that ends isn't held up.
    assert waited_s < 2
    assert len([line for line in logs if line["action"] == "traces_lost"]) <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "x",
        SENDER.upper(),
        SENDER.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        SENDER.replace("b7ad6b7169203331", "0" * 16),
        "ff" + SENDER[2:],
    ],
)
def test_what_is_no_traceparent_is_not_linked_to(wrong: str, seen: Collector) -> None:
    with tracing.request():
        tracing.answered({}, sender=wrong, error="Unavailable")
    tracing.end()
    (span,) = seen.spans
    assert (span.links, span.failed) == ((), "Unavailable")
