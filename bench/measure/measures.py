"""Measures what it costs to be seen: a count, an observation, a request's hook, and an event's trace.

`.venv/bin/python -m bench.measure.measures`: processor time, the best of ten rounds each, with no server.
"""

import os
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any

_ROUNDS, _TIMES = 10, 5_000


class _Door:
    """What the hook asks of a receiver."""

    @property
    def resources(self) -> "_Door":
        return self

    def connections(self) -> int:
        return 1

    def unpublished(self) -> int:
        return 0


def cost_us(*steps: Callable[[], object]) -> list[float]:
    """Return what each step costs, in µs of processor time; taking turns, so that a busy neighbour meets all alike."""
    best = [float("inf")] * len(steps)
    for _ in range(_ROUNDS):
        for index, step in enumerate(steps):
            began = time.process_time()
            for _ in range(_TIMES):
                step()
            best[index] = min(best[index], (time.process_time() - began) / _TIMES * 1e6)
    return best


def traced(sampler: str) -> float:
    """Return what the trace of an event costs where it is made, in µs: off, not sampled, sampled."""
    from app.observability import tracing  # noqa: PLC0415  # after the home is set
    from config.settings import settings  # noqa: PLC0415

    os.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": sampler and "http://127.0.0.1:9", "OTEL_TRACES_SAMPLER": sampler}
    if not sampler:
        del os.environ["OTEL_TRACES_SAMPLER"]
    settings.cache_clear()
    tracing.begin("bench")
    if tracing._recorder is not None:  # noqa: SLF001  # nothing is to be sent
        tracing._recorder._outlet.take = lambda noted: None  # type: ignore[method-assign]  # noqa: ARG005, SLF001
    prepared, stored = tracing.stepped("prepare")(int), tracing.stepped("store")(int)
    event_id = uuid.uuid4()

    def way() -> None:
        with tracing.request():
            prepared()
            stored()
            context = tracing.carried()
            tracing.answered({"http.response.status_code": 202, "tiercel.source": "x"}, sender=None, error=None)
        if context is not None:
            tracing.note("publish", context, 1, {"tiercel.event_id": str(event_id)})
        with tracing.work():
            for name in ("lock", "claim", "apply", "finish"):
                with tracing.step(name):
                    work = tracing.working()
                if work is not None and name == "claim" and context is not None:
                    work.met(event_id, {"context": context, "queued_at": 1.0, "lane": "high", "attempts": 1})
            tracing.ended((event_id,), "applied")

    (cost,) = cost_us(way)
    tracing.end()
    return cost


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["TIERCEL_HOME"] = home
        from flask import Flask  # noqa: PLC0415  # after the home is set

        from app.observability import process_metrics  # noqa: PLC0415
        from app.web import health  # noqa: PLC0415
        from app.web.request_metrics import measure  # noqa: PLC0415

        process_metrics.begin("web", main=os.getpid(), slot=0)

        def request(*, measured: bool) -> Callable[[], object]:
            flask_app = Flask("bench", static_folder=None)
            flask_app.extensions["receiver"] = _Door()
            flask_app.register_blueprint(health.blueprint)
            if measured:
                measure(flask_app)
            serve: Any = flask_app.wsgi_app

            def ask() -> object:
                environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/livez", "SERVER_NAME": "x", "SERVER_PORT": "1"}
                return list(serve({**environ, "wsgi.url_scheme": "http"}, lambda *_: None))

            return ask

        count, observation, plain, hooked = cost_us(
            lambda: process_metrics.ATTEMPTS.add("ended"),
            lambda: process_metrics.LOCK_WAIT.observe(0.02),
            request(measured=False),
            request(measured=True),
        )
        print(f"count {count:.1f} µs, observation {observation:.1f} µs, hook of a request {hooked - plain:.1f} µs")
        off, unsampled, sampled = traced(""), traced("always_off"), traced("always_on")
        print(f"an event's trace: off {off:.1f} µs, not sampled {unsampled:.1f} µs, sampled {sampled:.1f} µs")


if __name__ == "__main__":
    main()
