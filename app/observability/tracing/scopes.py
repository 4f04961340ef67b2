"""Owns what is noted while something is traced; the thread that sends it makes spans of it.

What is traced only notes names and times, since what runs a few times a second is never in a processor's caches
(docs/decisions/0027). Each sampled event gets the whole of its way, also what it shared with others of a batch; the
batch itself is a trace of its own, and both link to each other.
"""

import uuid
from collections.abc import Iterable, Iterator
from contextvars import Token
from dataclasses import dataclass, field
from time import time_ns

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind

from app.observability.tracing import Attributes, Row, current
from app.observability.tracing.export import SpanExporterThread
from app.observability.tracing.spans import Spans, SpanStep, context_of, new_context

_NOT_SHOWN = frozenset({"context", "queued_at"})


@dataclass(slots=True)
class TraceScope:
    """What is traced here, while it is entered."""

    outlet: SpanExporterThread
    began: int = field(default_factory=time_ns)
    steps: list[SpanStep] = field(default_factory=list)
    _before: "Token[TraceScope | None] | None" = None

    def __enter__(self) -> None:
        self._before = current.set(self)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            current.reset(self._before)
        self.close()

    def close(self) -> None:
        """Let it be sent, if it is to be."""

    def step(self, name: str) -> SpanStep:
        """Return a step that notes its times while it is entered."""
        return SpanStep(name, self.steps)

    def answered(self, attributes: Attributes, *, sender: str | None, error: str | None) -> None:
        """Say how a request ended."""

    def carried(self) -> str | None:
        """Return the context that events are to carry."""
        return None

    def as_work(self) -> "Work | None":
        """Return this, where it is work."""
        return None


@dataclass(slots=True, kw_only=True)
class TracedRequest(TraceScope):
    """A sampled request."""

    context: SpanContext = field(default_factory=new_context)
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
        self.outlet.take(self)

    def weight(self) -> int:
        """Return one."""
        return 1

    def spans(self, make: Spans) -> Iterator[ReadableSpan]:
        """Yield it and its steps."""
        linked = context_of(self.sender) if self.sender else None
        links = [] if linked is None else [Link(linked)]
        yield from make.steps(self.context, self.steps)
        times = (self.began, self.ended_at)
        yield make.span(
            "receive", self.context, None, times, SpanKind.SERVER, self.attributes, links, error=self.error
        )


@dataclass(slots=True)
class _Met:
    """A sampled event that a worker met."""

    row: Row
    outcome: str = "unfinished"
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class Work(TraceScope):
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
            self.outlet.take(self)

    def weight(self) -> int:
        """Return how many events it is of."""
        return len(self.events)

    def spans(self, make: Spans) -> Iterator[ReadableSpan]:
        """Yield what each sampled event's way was, and the batch."""
        known = [(event_id, met, context_of(met.row["context"])) for event_id, met in self.events.items()]
        sampled = [(event_id, met, context) for event_id, met, context in known if context is not None]
        times = (self.began, self.ended_at)
        together: list[Link] = []
        if self.batch and sampled:
            batch, links = new_context(), [Link(context) for _, _, context in sampled]
            together = [Link(batch)]
            yield from make.steps(batch, self.steps)
            yield make.span("batch", batch, None, times, SpanKind.CONSUMER, {"tiercel.sampled": len(sampled)}, links)
        lock_ms = sum(step.ended - step.began for step in self.steps if step.name == "lock") / 1e6
        for event_id, met, parent in sampled:
            queued = int(met.row["queued_at"] * 1e9)
            if queued < self.began:
                yield make.span("queue", new_context(parent.trace_id), parent, (queued, self.began))
            attributes = {f"tiercel.{name}": value for name, value in met.row.items() if name not in _NOT_SHOWN}
            attributes |= {"tiercel.event_id": str(event_id), "tiercel.outcome": met.outcome}
            attributes["tiercel.lock_wait_ms"] = lock_ms
            own = new_context(parent.trace_id)
            yield from make.steps(own, self.steps)
            yield make.span("process", own, parent, times, SpanKind.CONSUMER, attributes, together, error=met.error)


@dataclass(frozen=True, slots=True)
class Note:
    """One span of a sampled event, beside its other ones."""

    name: str
    context: str
    times: tuple[int, int]
    attributes: Attributes
    error: str | None

    def weight(self) -> int:
        """Return one."""
        return 1

    def spans(self, make: Spans) -> Iterator[ReadableSpan]:
        """Yield it."""
        parent = context_of(self.context)
        if parent is not None:
            own = new_context(parent.trace_id)
            yield make.span(self.name, own, parent, self.times, SpanKind.PRODUCER, self.attributes, error=self.error)
