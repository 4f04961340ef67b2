"""Owns the spans and their shape; imported only where traces are on.

Most spans are made after the fact, from times that were noted: which of a worker's events are sampled is known only
once their rows are read. Each sampled event gets the whole of its way, also what it shared with others of a batch; the
batch itself is a trace of its own, and both link to each other.
"""

import os
import re
import socket
import uuid
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from contextvars import Token
from dataclasses import dataclass, field
from random import random
from time import time_ns
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanLimits, TracerProvider, sampling
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from app.tracing import NOTHING, Attributes, Row, current
from app.tracing.export import Outlet
from config.settings import Sampler, Settings

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
"""Of any version, without what a later one may add behind it (https://www.w3.org/TR/trace-context/)."""
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NO_PARENT = Context()


def context_of(traceparent: str) -> SpanContext | None:
    """Return the context that a ``traceparent`` names, or None where it names none."""
    found = _TRACEPARENT.match(traceparent)
    if found is None:
        return None
    flags = TraceFlags(int(found[3], 16) & TraceFlags.SAMPLED)
    return SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=flags)


def _below(context: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(context), _NO_PARENT)


# Classes and not generators: what every event passes through, sampled or not, is to cost it next to nothing.
@dataclass(slots=True)
class _Step:
    """One step of a scope: its name, its times and, where it failed, why."""

    name: str
    scope: "Scope"
    began: int = 0
    ended: int = 0
    error: str | None = None

    def __enter__(self) -> None:
        self.began = time_ns()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.ended = time_ns()
        if kind is not None:
            self.error = kind.__name__
        self.scope.steps.append(self)


@dataclass(slots=True)
class Scope:
    """What is traced here, while it is entered."""

    recorder: "Recorder"
    began: int = field(default_factory=time_ns)
    steps: list[_Step] = field(default_factory=list)
    _before: "Token[Scope | None] | None" = None

    def __enter__(self) -> None:
        self._before = current.set(self)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            current.reset(self._before)
        self.close()

    def close(self) -> None:
        """Record it."""

    def step(self, name: str) -> _Step:
        """Return a step that notes its times while it is entered."""
        return _Step(name, self)

    def answered(self, attributes: Attributes, *, sender: str | None, error: str | None) -> None:
        """Say how a request ended."""

    def carried(self) -> str | None:
        """Return the context that events are to carry."""
        return None

    def as_work(self) -> "Work | None":
        """Return this, where it is work."""
        return None


@dataclass(slots=True, kw_only=True)
class Request(Scope):
    """A sampled request."""

    span: Span

    def answered(self, attributes: Attributes, *, sender: str | None, error: str | None) -> None:
        """Say how it ended. A sender's own trace is linked to: it decides nothing here."""
        self.span.set_attributes(attributes)
        linked = context_of(sender) if sender else None
        if linked is not None:
            self.span.add_link(linked)
        if error is not None:
            self.span.set_status(Status(StatusCode.ERROR, error))

    def carried(self) -> str | None:
        """Return the context that events are to carry."""
        own = self.span.get_span_context()
        return f"00-{own.trace_id:032x}-{own.span_id:016x}-01"

    def close(self) -> None:
        """Record it."""
        self.recorder.steps(self.span, self.steps)
        self.span.end()


@dataclass(slots=True)
class _Met:
    """A sampled event that a worker met."""

    row: Row
    outcome: str = "unfinished"
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class Work(Scope):
    """A worker's work on events."""

    batch: bool
    events: dict[uuid.UUID, _Met] = field(default_factory=dict)

    def as_work(self) -> "Work | None":
        """Return this."""
        return self

    def met(self, event_id: uuid.UUID, row: Row) -> None:
        """Note a sampled event."""
        self.events[event_id] = _Met(row)

    def ended(self, event_ids: Iterable[uuid.UUID], outcome: str, *, error: str | None = None) -> None:
        """Note what became of events."""
        for event_id in event_ids:
            found = self.events.get(event_id)
            if found is not None:
                found.outcome, found.error = outcome, error

    def close(self) -> None:
        """Record it, if any of its events is sampled."""
        known = [(event_id, met, context_of(met.row["context"])) for event_id, met in self.events.items()]
        sampled = [(event_id, met, context) for event_id, met, context in known if context is not None]
        if not sampled:
            return
        ended, tracer = time_ns(), self.recorder.tracer
        together: list[Link] = []
        if self.batch:
            links = [Link(context) for _, _, context in sampled]
            span = tracer.start_span(
                "batch", _NO_PARENT, SpanKind.CONSUMER, {"tiercel.sampled": len(links)}, links, self.began
            )
            self.recorder.steps(span, self.steps)
            span.end(ended)
            together = [Link(span.get_span_context())]
        lock_ms = sum(step.ended - step.began for step in self.steps if step.name == "lock") / 1e6
        for event_id, met, context in sampled:
            queued = int(met.row["queued_at"] * 1e9)
            if queued < self.began:
                queue = tracer.start_span("queue", _below(context), start_time=queued)
                queue.end(self.began)
            attributes = {f"tiercel.{name}": value for name, value in met.row.items() if name not in _NOT_SHOWN}
            attributes |= {"tiercel.event_id": str(event_id), "tiercel.outcome": met.outcome}
            attributes["tiercel.lock_wait_ms"] = lock_ms
            span = tracer.start_span(
                "process", _below(context), SpanKind.CONSUMER, attributes, together, start_time=self.began
            )
            if met.error is not None:
                span.set_status(Status(StatusCode.ERROR, met.error))
            self.recorder.steps(span, self.steps)
            span.end(ended)


_NOT_SHOWN = frozenset({"context", "queued_at"})


class Recorder:
    """What records in one process."""

    def __init__(self, outlet: Outlet, share: float, group: str) -> None:
        self._outlet = outlet
        self._share = share
        resource = Resource.create(
            {
                "service.namespace": "tiercel",
                "service.name": f"tiercel-{group}",
                "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
            }
        )
        # Whatever is recorded is: what isn't sampled never comes as far as a span.
        self._provider = TracerProvider(
            sampling.ALWAYS_ON, resource, shutdown_on_exit=False, span_limits=SpanLimits(max_links=128)
        )
        self._provider.add_span_processor(outlet)
        self.tracer = self._provider.get_tracer("tiercel")

    @classmethod
    def of(cls, settings: Settings, group: str) -> Self:
        """Return the recorder that the settings ask for."""
        headers = dict(
            part.strip().split("=", 1)
            for part in settings.otel_exporter_otlp_headers.get_secret_value().split(",")
            if "=" in part
        )
        exporter = OTLPSpanExporter(endpoint=settings.traces_url(), headers=headers or None)
        outlet = Outlet(exporter, every_s=settings.otel_bsp_schedule_delay / 1000)
        return cls(outlet, share_of(settings), group)

    def request(self) -> AbstractContextManager[None]:
        """Trace a request, where it is sampled. It is a root: no stranger decides what is sampled here.

        So every sampler comes to a share, and is asked before there is a span: the SDK's make a span's context first.
        """
        if random() >= self._share:  # noqa: S311  # no secret
            return NOTHING
        span = self.tracer.start_span("receive", _NO_PARENT, SpanKind.SERVER)
        return Request(self, span=span) if isinstance(span, Span) else NOTHING

    def work(self, *, batch: bool) -> AbstractContextManager[None]:
        """Trace work on events."""
        return Work(self, batch=batch)

    def note(self, name: str, context: str, began: int, attributes: Attributes, *, error: str | None) -> None:
        """Record a span that ends now, in a sampled event's trace."""
        parent = context_of(context)
        if parent is not None:
            span = self.tracer.start_span(name, _below(parent), SpanKind.PRODUCER, attributes, start_time=began)
            if error is not None:
                span.set_status(Status(StatusCode.ERROR, error))
            span.end()

    def steps(self, span: trace.Span, steps: Sequence[_Step]) -> None:
        """Record steps below a span."""
        parent = trace.set_span_in_context(span, _NO_PARENT)
        for step in steps:
            child = self.tracer.start_span(step.name, parent, start_time=step.began)
            if step.error is not None:
                child.set_status(Status(StatusCode.ERROR, step.error))
            child.end(step.ended)

    def close(self, within_s: float) -> None:
        """Send what is left."""
        self._outlet.close(within_s)


def share_of(settings: Settings) -> float:
    """Return the share of requests that the standard's variables ask for, from 0 to 1."""
    asked = settings.otel_traces_sampler
    if asked in {Sampler.TRACEIDRATIO, Sampler.PARENTBASED_TRACEIDRATIO}:
        return settings.otel_traces_sampler_arg
    return float(asked in {Sampler.ALWAYS_ON, Sampler.PARENTBASED_ALWAYS_ON})
