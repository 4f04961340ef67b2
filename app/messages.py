"""Owns a task message: which task it names, which pointers it carries, and what Celery reads of it."""

import os
import socket
import time
import uuid
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import orjson

from app.models import Lane
from app.pointers import Dispatch

APPLY_EVENTS = "tasks.process.apply_events"
APPLY_EVENTS_SHOWN = "tasks.process.apply_events.shown"
"""The same task, shown in Flower."""
PURGE = "tasks.housekeeping.purge"
CARRY_OUT = "tasks.housekeeping.carry_out_requests"
PER_MESSAGE = {Lane.HIGH: 20, Lane.MEDIUM: 50, Lane.LOW: 100}
"""Pointers a message may carry: a message costs more than an event. Only what is there at the same moment and equally
urgent is put together; nothing is waited for, so while little happens a message carries one."""

_SHOWN_PER_S, _SHOWN_AT_ONCE = 2.0, 10.0


class Shown:
    """Chooses the messages that Flower shows: all while there are few, a sample of 2 a second while there are many.

    Showing one costs about as much as applying it: three events through the broker to Flower.
    """

    def __init__(self) -> None:
        self._allowance = _SHOWN_AT_ONCE
        self._at = time.monotonic()

    def is_next(self) -> bool:
        """Tell whether the next message is one."""
        now = time.monotonic()
        self._allowance = min(_SHOWN_AT_ONCE, self._allowance + (now - self._at) * _SHOWN_PER_S)
        self._at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True


class Message:
    """A message of some pointers of one lane and urgency."""

    __slots__ = ("body", "headers", "task_id")

    def __init__(self, dispatches: Sequence[Dispatch], *, shown: bool) -> None:
        pairs = [[str(dispatch.pointer.event_id), dispatch.pointer.generation] for dispatch in dispatches]
        self.task_id = str(uuid.uuid4())
        self.body = orjson.dumps([[pairs], {}, {}])
        self.headers = _headers(self.task_id, f"({dispatches[0].lane.name.lower()}: {pairs})" if shown else None)


def together(dispatches: Sequence[Dispatch]) -> list[list[Dispatch]]:
    """Put pointers together as messages carry them: by lane and priority, else in their order."""
    messages: list[list[Dispatch]] = []
    for (lane, _), equals in groupby(sorted(dispatches, key=_urgency), key=_urgency):
        alike, size = list(equals), PER_MESSAGE[Lane(lane)]
        messages += [alike[start : start + size] for start in range(0, len(alike), size)]
    return messages


def _urgency(dispatch: Dispatch) -> tuple[int, int]:
    return int(dispatch.lane), -dispatch.priority


def apart(messages: Iterable[Sequence[Dispatch]]) -> list[Dispatch]:
    """Return the pointers of several messages."""
    return [dispatch for message in messages for dispatch in message]


def _headers(task_id: str, shown: str | None) -> dict[str, Any]:
    """Return a task message's headers; ``shown`` is what Flower is to show as its arguments.

    Celery's protocol, version 2 (https://docs.celeryq.dev/en/stable/internals/protocol.html), without what is null:
    each is written here, and read by RabbitMQ and the worker, for every message.
    """
    headers = {"lang": "py", "task": APPLY_EVENTS, "id": task_id, "root_id": task_id, "ignore_result": True}
    if shown is not None:
        origin = f"{os.getpid()}@{socket.gethostname()}"
        headers |= {"task": APPLY_EVENTS_SHOWN, "argsrepr": shown, "kwargsrepr": "{}", "origin": origin}
    return headers
