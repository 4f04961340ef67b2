"""Owns the spans and their shape; imported only where traces are on.

Most spans are made after the fact, from times that were noted: which of a worker's events are sampled is known only
once their rows are read. Each sampled event gets the whole of its way, also what it shared with others of a batch; the
batch itself is a trace of its own, and both link to each other.
"""

import os
import re
import socket
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import time_ns
from typing import Any, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanLimits, TracerProvider, sampling
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from app.tracing import Attributes, Row
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


@dataclass(slots=True)
class _Noted:
    """One step: its name, its times and, where it failed, why."""

    name: str
    began: int
    ended: int
    error: str | None


@dataclass(slots=True)
class Scope:
    """What is traced here."""

    recorder: "Recorder"
    began: int = field(default_factory=time_ns)
    steps: list[_Noted] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note a step's times."""
        noted = _Noted(name, time_ns(), 0, None)
        try:
            yield
        except BaseException as error:
            noted.error = type(error).__name__
            raise
        finally:
            noted.ended = time_ns()
            self.steps.append(noted)

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
        ended, tracer = time_ns(), self.recorder.sure
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

    def __init__(self, outlet: Outlet, sampler: sampling.Sampler, group: str, current: ContextVar[Any]) -> None:
        self._outlet = outlet
        self._current = current
        resource = Resource.create(
            {
                "service.namespace": "tiercel",
                "service.name": f"tiercel-{group}",
                "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
            }
        )
        limits = SpanLimits(max_links=128)
        self._asked = TracerProvider(sampler, resource, shutdown_on_exit=False, span_limits=limits)
        # For what belongs to something sampled.
        self._known = TracerProvider(sampling.ALWAYS_ON, resource, shutdown_on_exit=False, span_limits=limits)
        for provider in (self._asked, self._known):
            provider.add_span_processor(outlet)
        self._tracer = self._asked.get_tracer("tiercel")
        self.sure = self._known.get_tracer("tiercel")

    @classmethod
    def of(cls, settings: Settings, group: str, current: ContextVar[Any]) -> Self:
        """Return the recorder that the settings ask for."""
        headers = dict(
            part.strip().split("=", 1)
            for part in settings.otel_exporter_otlp_headers.get_secret_value().split(",")
            if "=" in part
        )
        exporter = OTLPSpanExporter(endpoint=settings.traces_url(), headers=headers or None)
        outlet = Outlet(exporter, every_s=settings.otel_bsp_schedule_delay / 1000)
        return cls(outlet, sampler_of(settings), group, current)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Trace a request, where the sampler wants it. It is a root: no stranger decides what is sampled here."""
        span = self._tracer.start_span("receive", _NO_PARENT, SpanKind.SERVER)
        if not isinstance(span, Span) or not span.is_recording():
            yield
            return
        scope = Request(self, span=span)
        before = self._current.set(scope)
        try:
            yield
        finally:
            self._current.reset(before)
            scope.close()

    @contextmanager
    def work(self, *, batch: bool) -> Iterator[None]:
        """Trace work on events."""
        scope = Work(self, batch=batch)
        before = self._current.set(scope)
        try:
            yield
        finally:
            self._current.reset(before)
            scope.close()

    def note(self, name: str, context: str, began: int, attributes: Attributes, *, error: str | None) -> None:
        """Record a span that ends now, in a sampled event's trace."""
        parent = context_of(context)
        if parent is not None:
            span = self.sure.start_span(name, _below(parent), SpanKind.PRODUCER, attributes, start_time=began)
            if error is not None:
                span.set_status(Status(StatusCode.ERROR, error))
            span.end()

    def steps(self, span: trace.Span, steps: Sequence[_Noted]) -> None:
        """Record steps below a span."""
        parent = trace.set_span_in_context(span, _NO_PARENT)
        for step in steps:
            child = self.sure.start_span(step.name, parent, start_time=step.began)
            if step.error is not None:
                child.set_status(Status(StatusCode.ERROR, step.error))
            child.end(step.ended)

    def close(self, within_s: float) -> None:
        """Send what is left."""
        self._outlet.close(within_s)


def sampler_of(settings: Settings) -> sampling.Sampler:
    """Return the sampler that the standard's variables name."""
    made: dict[Sampler, sampling.Sampler] = {
        Sampler.ALWAYS_ON: sampling.ALWAYS_ON,
        Sampler.ALWAYS_OFF: sampling.ALWAYS_OFF,
        Sampler.PARENTBASED_ALWAYS_ON: sampling.DEFAULT_ON,
        Sampler.PARENTBASED_ALWAYS_OFF: sampling.DEFAULT_OFF,
        Sampler.TRACEIDRATIO: sampling.TraceIdRatioBased(settings.otel_traces_sampler_arg),
        Sampler.PARENTBASED_TRACEIDRATIO: sampling.ParentBasedTraceIdRatio(settings.otel_traces_sampler_arg),
    }
    return made[settings.otel_traces_sampler]
