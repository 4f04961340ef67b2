"""Owns the spans and their shape; imported only where traces are on.

What is traced only notes times and names; the thread that sends them makes spans of them. Code that runs a few times
a second is never in a processor's caches: to make its three spans cost a sampled request half a millisecond. Each
sampled event gets the whole of its way, also what it shared with others of a batch; the batch itself is a trace of its
own, and both link to each other.
"""

import os
import re
import socket
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import Token
from dataclasses import dataclass, field
from random import getrandbits, random
from time import time_ns
from typing import Self

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from app.tracing import NOTHING, Attributes, Row, current
from app.tracing.export import Noted, Outlet
from config.settings import Sampler, Settings

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
"""Of any version, without what a later one may add behind it (https://www.w3.org/TR/trace-context/)."""
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("tiercel")
_LINKS = 128
"""At most of one span, as in the SDK (OTEL_SPAN_LINK_COUNT_LIMIT)."""


def context_of(traceparent: str) -> SpanContext | None:
    """Return the context that a ``traceparent`` names, or None where it names none."""
    found = _TRACEPARENT.match(traceparent)
    if found is None:
        return None
    flags = TraceFlags(int(found[3], 16) & TraceFlags.SAMPLED)
    return SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=flags)


def _new(trace_id: int | None = None) -> SpanContext:
    """Return the context of a new span, of a trace or of a new one."""
    # Never zero, which stands for none.
    own = getrandbits(128) or 1 if trace_id is None else trace_id
    return SpanContext(own, getrandbits(64) or 1, is_remote=False, trace_flags=_SAMPLED)


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
        """Let it be sent, if it is to be."""

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

    context: SpanContext = field(default_factory=_new)
    attributes: Attributes = field(default_factory=dict)
    sender: str | None = None
    error: str | None = None
    ended_at: int = 0

    def answered(self, attributes: Attributes, *, sender: str | None, error: str | None) -> None:
        """Say how it ended. A sender's own trace is linked to: it decides nothing here."""
        self.attributes, self.sender, self.error = attributes, sender, error

    def carried(self) -> str | None:
        """Return the context that events are to carry."""
        return f"00-{self.context.trace_id:032x}-{self.context.span_id:016x}-01"

    def close(self) -> None:
        """Let it be sent."""
        self.ended_at = time_ns()
        self.recorder.keep(self)

    def spans(self) -> Iterator[ReadableSpan]:
        """Yield it and its steps."""
        linked = context_of(self.sender) if self.sender else None
        links = [] if linked is None else [Link(linked)]
        yield from self.recorder.steps(self.context, self.steps)
        times = (self.began, self.ended_at)
        yield self.recorder.span(
            "receive", self.context, None, times, SpanKind.SERVER, self.attributes, links, error=self.error
        )


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
    ended_at: int = 0

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
        """Let it be sent, if any of its events is sampled."""
        if self.events:
            self.ended_at = time_ns()
            self.recorder.keep(self)

    def spans(self) -> Iterator[ReadableSpan]:
        """Yield what each sampled event's way was, and the batch."""
        known = [(event_id, met, context_of(met.row["context"])) for event_id, met in self.events.items()]
        sampled = [(event_id, met, context) for event_id, met, context in known if context is not None]
        times, record = (self.began, self.ended_at), self.recorder.span
        together: list[Link] = []
        if self.batch and sampled:
            batch, links = _new(), [Link(context) for _, _, context in sampled[:_LINKS]]
            together = [Link(batch)]
            yield from self.recorder.steps(batch, self.steps)
            yield record("batch", batch, None, times, SpanKind.CONSUMER, {"tiercel.sampled": len(sampled)}, links)
        lock_ms = sum(step.ended - step.began for step in self.steps if step.name == "lock") / 1e6
        for event_id, met, parent in sampled:
            queued = int(met.row["queued_at"] * 1e9)
            if queued < self.began:
                yield record("queue", _new(parent.trace_id), parent, (queued, self.began))
            attributes = {f"tiercel.{name}": value for name, value in met.row.items() if name not in _NOT_SHOWN}
            attributes |= {"tiercel.event_id": str(event_id), "tiercel.outcome": met.outcome}
            attributes["tiercel.lock_wait_ms"] = lock_ms
            own = _new(parent.trace_id)
            yield from self.recorder.steps(own, self.steps)
            yield record("process", own, parent, times, SpanKind.CONSUMER, attributes, together, error=met.error)


@dataclass(frozen=True, slots=True)
class _Note:
    """One span of a sampled event, beside its other ones."""

    recorder: "Recorder"
    name: str
    context: str
    times: tuple[int, int]
    attributes: Attributes
    error: str | None

    def spans(self) -> Iterator[ReadableSpan]:
        """Yield it."""
        parent = context_of(self.context)
        if parent is not None:
            own = _new(parent.trace_id)
            yield self.recorder.span(
                self.name, own, parent, self.times, SpanKind.PRODUCER, self.attributes, error=self.error
            )


_NOT_SHOWN = frozenset({"context", "queued_at"})


class Recorder:
    """What records in one process."""

    def __init__(self, outlet: Outlet, share: float, group: str) -> None:
        self._outlet = outlet
        self._share = share
        self._resource = Resource.create(
            {
                "service.namespace": "tiercel",
                "service.name": f"tiercel-{group}",
                "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
            }
        )

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

        So every sampler comes to a share, and a throw of the dice is enough.
        """
        return Request(self) if random() < self._share else NOTHING  # noqa: S311  # no secret

    def work(self, *, batch: bool) -> AbstractContextManager[None]:
        """Trace work on events."""
        return Work(self, batch=batch)

    def note(self, name: str, context: str, began: int, attributes: Attributes, *, error: str | None) -> None:
        """Record a span that ends now, in a sampled event's trace."""
        self.keep(_Note(self, name, context, (began, time_ns()), attributes, error))

    def keep(self, noted: Noted) -> None:
        """Let something be sent; never waits."""
        self._outlet.take(noted)

    def steps(self, parent: SpanContext, steps: Sequence[_Step]) -> Iterator[ReadableSpan]:
        """Yield the spans of steps below a span."""
        for step in steps:
            own = _new(parent.trace_id)
            yield self.span(step.name, own, parent, (step.began, step.ended), error=step.error)

    def span(  # noqa: PLR0913  # each is a part of a span
        self,
        name: str,
        own: SpanContext,
        parent: SpanContext | None,
        times: tuple[int, int],
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        links: Sequence[Link] = (),
        *,
        error: str | None = None,
    ) -> ReadableSpan:
        """Return a span that has ended, as the exporter takes it; ``times`` are its begin and end, Unix time in ns."""
        status = Status(StatusCode.UNSET) if error is None else Status(StatusCode.ERROR, error)
        return ReadableSpan(
            name,
            own,
            parent,
            self._resource,
            attributes or {},
            (),
            links,
            kind,
            status=status,
            start_time=times[0],
            end_time=times[1],
            instrumentation_scope=_SCOPE,
        )

    def close(self, within_s: float) -> None:
        """Send what is left."""
        self._outlet.close(within_s)


def share_of(settings: Settings) -> float:
    """Return the share of requests that the standard's variables ask for, from 0 to 1."""
    asked = settings.otel_traces_sampler
    if asked in {Sampler.TRACEIDRATIO, Sampler.PARENTBASED_TRACEIDRATIO}:
        return settings.otel_traces_sampler_arg
    return float(asked in {Sampler.ALWAYS_ON, Sampler.PARENTBASED_ALWAYS_ON})
