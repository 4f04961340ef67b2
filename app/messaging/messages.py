"""Owns a task message: its queue, the task it names, the pointers it carries, and what Celery reads of it."""

import os
import socket
import time
import uuid
from collections.abc import Iterable, Sequence
from itertools import groupby
from struct import Struct
from typing import Any

import orjson
from amqp.serialization import dumps

from app.messaging.pointer import Dispatch
from app.models import Lane

APPLY_EVENTS = "tasks.process.apply_events"
APPLY_EVENTS_SHOWN = "tasks.process.apply_events.shown"
"""The same task, shown in Flower."""
PURGE = "tasks.housekeeping.purge"
CARRY_OUT = "tasks.housekeeping.carry_out_requests"
PER_MESSAGE = {Lane.HIGH: 20, Lane.MEDIUM: 50, Lane.LOW: 100}
"""Pointers a message may carry: a message costs more than an event. Only what is there at the same moment and equally
urgent is put together; nothing is waited for, so while little happens a message carries one."""
# AMQP 0-9-1, 4.2.3 and 4.2.6 of its specification (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf).
_METHOD_FRAME, _HEADER_FRAME, _BODY_FRAME = 1, 2, 3
_BASIC, _PUBLISH, _PERSISTENT = 60, 40, 2
_FRAME, _METHOD, _HEADER, _END = Struct(">BHI"), Struct(">HH"), Struct(">HHQ"), b"\xce"
_FIRST_SEVEN = b"\xfe\x00"
"""Says which properties there are: all up to reply-to, which Celery wants."""
_ANY_ID = b"00000000-0000-0000-0000-000000000000"

_SHOWN_PER_S, _SHOWN_AT_ONCE = 2.0, 10.0


def queue_name(lane: Lane) -> str:
    """Return the name of a lane's queue."""
    return f"events.{lane.name.lower()}"


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


class Messages:
    """Makes messages as the bytes of AMQP's frames: one that is like the last differs from it in a few of them.

    To have each encoded by py-amqp is a sixth of what a receiver does for an event.
    """

    def __init__(self, *, channel: int, frame_max: int) -> None:
        self._channel = channel
        self._body_most = frame_max - _FRAME.size - len(_END)
        self._like: dict[tuple[Lane, int], tuple[bytes, bytes]] = {}
        self._prefix = str(uuid.uuid4())[:-12]
        self._count = 0

    def make(self, dispatches: Sequence[Dispatch], *, shown: bool) -> tuple[str, bytes]:
        """Return a message of pointers of one lane and urgency: its task's id, and its frames.

        ``shown`` ones tell Flower their arguments.
        """
        lane, priority = dispatches[0].lane, dispatches[0].priority
        pairs = [[str(dispatch.pointer.event_id), dispatch.pointer.generation] for dispatch in dispatches]
        self._count += 1
        task_id = f"{self._prefix}{self._count:012x}"
        body = orjson.dumps([[pairs], {}, {}])
        if shown:
            method, properties = self._encoded(lane, priority, f"({lane.name.lower()}: {pairs})")
        else:
            known = self._like.get((lane, priority))
            if known is None:
                known = self._like[lane, priority] = self._encoded(lane, priority, None)
            method, properties = known
        header = _HEADER.pack(_BASIC, 0, len(body)) + properties.replace(_ANY_ID, task_id.encode())
        most = self._body_most
        parts = [self._frame(_BODY_FRAME, body[start : start + most]) for start in range(0, len(body), most)]
        return task_id, b"".join([method, self._frame(_HEADER_FRAME, header), *parts])

    def _encoded(self, lane: Lane, priority: int, shown: str | None) -> tuple[bytes, bytes]:
        """Return the frame of basic.publish, mandatory, and the properties of a message with any id."""
        method = _METHOD.pack(_BASIC, _PUBLISH) + dumps("Bssbb", (0, "", queue_name(lane), True, False))
        headers, any_id = _headers(_ANY_ID.decode(), shown), _ANY_ID.decode()
        properties = dumps("ssFooss", ("application/json", "utf-8", headers, _PERSISTENT, priority, any_id, ""))
        return self._frame(_METHOD_FRAME, method), _FIRST_SEVEN + properties

    def _frame(self, kind: int, payload: bytes) -> bytes:
        return _FRAME.pack(kind, self._channel, len(payload)) + payload + _END


def group_into_messages(dispatches: Sequence[Dispatch]) -> list[list[Dispatch]]:
    """Put pointers together as messages carry them: by lane and priority, else in their order."""
    messages: list[list[Dispatch]] = []
    for (lane, _), equals in groupby(sorted(dispatches, key=_urgency), key=_urgency):
        alike, size = list(equals), PER_MESSAGE[Lane(lane)]
        messages += [alike[start : start + size] for start in range(0, len(alike), size)]
    return messages


def _urgency(dispatch: Dispatch) -> tuple[int, int]:
    return int(dispatch.lane), -dispatch.priority


def flatten(messages: Iterable[Sequence[Dispatch]]) -> list[Dispatch]:
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
