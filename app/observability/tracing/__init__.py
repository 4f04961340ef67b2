"""Owns traces: what an event's way took, from its request to its outcome, for the few that are sampled.

Off unless an OTLP endpoint is set, and then nothing of OpenTelemetry is imported and every function here returns at
once. A sampled event carries its context on its row, so that whoever meets it later (another process, a dispatch of
days later, a replay) goes on in the same trace; one that isn't sampled carries nothing. Attributes are ids, numbers
and names of ours: never a body, a header or anything else that a sender chose.
"""

import atexit
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from config.settings import settings

if TYPE_CHECKING:
    from app.observability.tracing.recorder import Recorder
    from app.observability.tracing.scopes import TraceScope, Work

Attributes = Mapping[str, str | int | float | bool]
Row = Mapping[str, Any]
"""What the row of a sampled event says: its context, and what its spans are to tell."""
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
NOTHING: AbstractContextManager[None] = nullcontext()
"""Traces nothing."""
_recorder: "Recorder | None" = None
current: ContextVar["TraceScope | None"] = ContextVar("current", default=None)
"""What is being traced here: a request, or a worker's work on events."""
_END_S = 1.5


def load() -> None:
    """Load what ``begin`` will need, where an endpoint is set: before the fork it is loaded once for all processes."""
    if settings().traces_url():
        import_module("app.observability.tracing.recorder")


def begin(group: str) -> None:
    """Let this process record, after the fork, where an endpoint is set; ``group`` as in ``measures.begin``."""
    global _recorder  # noqa: PLW0603  # one a process
    if not settings().traces_url():
        return
    from app.observability.tracing.recorder import Recorder  # noqa: PLC0415  # nobody pays for it who doesn't trace

    _recorder = Recorder.of(settings(), group)
    atexit.register(end)


def end() -> None:
    """Send what is left, for 1.5 s at most; a pool's child, which runs no atexit, calls it by itself."""
    global _recorder  # noqa: PLW0603  # one a process
    recorder, _recorder = _recorder, None
    if recorder is not None:
        atexit.unregister(end)
        recorder.close(_END_S)


def on() -> bool:
    """Tell whether this process records."""
    return _recorder is not None


def now() -> int:
    """Return the time as spans have it: Unix time in ns."""
    return time.time_ns()


def request() -> AbstractContextManager[None]:
    """Trace what is done inside as one request, where it is sampled."""
    return NOTHING if _recorder is None else _recorder.request()


def answered(attributes: Attributes, *, sender: str | None, error: str | None) -> None:
    """Say how the request ended; ``sender`` is the ``traceparent`` of one who was verified, which is linked to."""
    scope = current.get()
    if scope is not None:
        scope.answered(attributes, sender=sender, error=error)


def carried() -> str | None:
    """Return the context that the events of this request are to carry; None where it isn't sampled."""
    scope = current.get()
    return None if scope is None else scope.carried()


def work(*, batch: bool = False) -> AbstractContextManager[None]:
    """Trace what is done inside as work on the events that are met there; a batch has a span of its own."""
    return NOTHING if _recorder is None else _recorder.work(batch=batch)


def step(name: str) -> AbstractContextManager[None]:
    """Trace what is done inside as one step of the request or work around it."""
    scope = current.get()
    return NOTHING if scope is None else scope.step(name)


def stepped(name: str) -> Callable[[Callable[_Given, _Result]], Callable[_Given, _Result]]:
    """Make each call of a function a step of the request or work around it."""

    def decorate(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
        @wraps(function)
        def call(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
            with step(name):
                return function(*args, **kwargs)

        return call

    return decorate


def working() -> "Work | None":
    """Return the work that is traced here, to say which events it met and what became of them."""
    scope = current.get()
    return None if scope is None else scope.as_work()


def ended(event_ids: Iterable[uuid.UUID], outcome: str, *, error: str | None = None) -> None:
    """Say what became of events that this work has met; an error is a class's name, since its words may say more."""
    found = working()
    if found is not None:
        found.ended(event_ids, outcome, error=error)


def note(name: str, context: str, began: int, attributes: Attributes, *, error: str | None = None) -> None:
    """Record a span that ends now, in the trace of a sampled event."""
    if _recorder is not None:
        _recorder.note(name, context, began, attributes, error=error)
