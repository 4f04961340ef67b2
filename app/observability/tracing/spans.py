"""Owns how a span is made of what was noted: its ids, its times, its shape on the way out."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import getrandbits
from time import time_ns

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from app.observability.tracing import Attributes

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
"""Of any version, without what a later one may add behind it (https://www.w3.org/TR/trace-context/)."""
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("tiercel")


def context_of(traceparent: str) -> SpanContext | None:
    """Return the context that a ``traceparent`` names, or None where it names none."""
    found = _TRACEPARENT.match(traceparent)
    if found is None:
        return None
    flags = TraceFlags(int(found[3], 16) & TraceFlags.SAMPLED)
    return SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=flags)


def new_context(trace_id: int | None = None) -> SpanContext:
    """Return the context of a new span, of a trace or of a new one."""
    # Never zero, which stands for none.
    own = getrandbits(128) or 1 if trace_id is None else trace_id
    return SpanContext(own, getrandbits(64) or 1, is_remote=False, trace_flags=_SAMPLED)


# A class and not a generator: what every event passes through, sampled or not, is to cost it next to nothing.
@dataclass(slots=True)
class SpanStep:
    """One step of what is traced, entered while it lasts: its name, begin and end (Unix time, ns) and failure."""

    name: str
    into: list["SpanStep"]
    began: int = 0
    ended: int = 0
    error: str | None = None

    def __enter__(self) -> None:
        self.began = time_ns()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.ended = time_ns()
        if kind is not None:
            self.error = kind.__name__
        self.into.append(self)


class Spans:
    """Makes the spans of one process."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def steps(self, parent: SpanContext, steps: Sequence[SpanStep]) -> Iterator[ReadableSpan]:
        """Yield the spans of steps below a span."""
        for step in steps:
            own = new_context(parent.trace_id)
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
