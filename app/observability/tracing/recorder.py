"""Owns what records in one process, as the standard's variables ask; imported only where traces are on."""

import os
import socket
from contextlib import AbstractContextManager
from random import random
from time import time_ns
from typing import Self

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource

from app.observability.tracing import NOTHING, Attributes
from app.observability.tracing.export import SpanExporterThread
from app.observability.tracing.scopes import Note, TracedRequest, Work
from app.observability.tracing.spans import Spans
from config.settings import Sampler, Settings


class Recorder:
    """What records in one process."""

    def __init__(self, outlet: SpanExporterThread, share: float) -> None:
        self._outlet = outlet
        self._share = share

    @classmethod
    def of(cls, settings: Settings, group: str) -> Self:
        """Return the recorder that the settings ask for."""
        headers = dict(
            part.strip().split("=", 1)
            for part in settings.otel_exporter_otlp_headers.get_secret_value().split(",")
            if "=" in part
        )
        exporter = OTLPSpanExporter(endpoint=settings.traces_url(), headers=headers or None)
        resource = Resource.create(
            {
                "service.namespace": "tiercel",
                "service.name": f"tiercel-{group}",
                "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
            }
        )
        outlet = SpanExporterThread(exporter, Spans(resource), every_s=settings.otel_bsp_schedule_delay / 1000)
        return cls(outlet, share_of(settings))

    def request(self) -> AbstractContextManager[None]:
        """Trace a request, where it is sampled. It is a root: no stranger decides what is sampled here.

        So every sampler comes to a share, and a throw of the dice is enough.
        """
        return TracedRequest(self._outlet) if random() < self._share else NOTHING  # noqa: S311  # no secret

    def work(self, *, batch: bool) -> AbstractContextManager[None]:
        """Trace work on events."""
        return Work(self._outlet, batch=batch)

    def note(self, name: str, context: str, began: int, attributes: Attributes, *, error: str | None) -> None:
        """Record a span that ends now, in a sampled event's trace."""
        self._outlet.take(Note(name, context, (began, time_ns()), attributes, error))

    def close(self, within_s: float) -> None:
        """Send what is left."""
        self._outlet.close(within_s)


def share_of(settings: Settings) -> float:
    """Return the share of requests that the standard's variables ask for, from 0 to 1."""
    asked = settings.otel_traces_sampler
    if asked in {Sampler.TRACEIDRATIO, Sampler.PARENTBASED_TRACEIDRATIO}:
        return settings.otel_traces_sampler_arg
    return float(asked in {Sampler.ALWAYS_ON, Sampler.PARENTBASED_ALWAYS_ON})
