"""Owns RabbitMQ: one queue a lane, task names, and publishing pointers with pipelined confirms.

Nothing here can lose an event: a message is a pointer, and what isn't confirmed is said to be unpublished.
"""

import time
import uuid
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Self

import orjson
from amqp.exceptions import AMQPError
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.exceptions import KombuError

from app import tracing
from app.models import Lane
from app.pointers import Dispatch
from config.settings import QueueType

APPLY_EVENTS = "tasks.process.apply_events"
APPLY_EVENTS_SHOWN = "tasks.process.apply_events.shown"
"""The same task, shown in Flower."""
PURGE = "tasks.housekeeping.purge"
CARRY_OUT = "tasks.housekeeping.carry_out_requests"
MAX_PRIORITY = 9
_CHUNK = 500
_PER_MESSAGE = {Lane.HIGH: 20, Lane.MEDIUM: 50, Lane.LOW: 100}
"""Pointers a message may carry: a message costs more than an event. Only what is there at the same moment and equally
urgent is put together; nothing is waited for, so while little happens a message carries one."""
_CONNECT_S, _SOCKET_S, _CONFIRM_S = 2, 5, 3.0
_BROKEN = (AMQPError, KombuError, OSError)

TRANSPORT_OPTIONS: dict[str, Any] = {"read_timeout": _SOCKET_S, "write_timeout": _SOCKET_S}
"""Without these a frozen broker holds a publish for ever, whatever the confirm's own timeout."""


def queue_name(lane: Lane) -> str:
    """Return the name of a lane's queue."""
    return f"events.{lane.name.lower()}"


def queue_for(lane: Lane, queue_type: QueueType, *, consumer_priority: int = 0) -> Queue:
    """Return a lane's queue; arguments are immutable in RabbitMQ, so every process must declare the same.

    A consumer's priority is its own (https://www.rabbitmq.com/docs/consumer-priority): a worker of a lower one gets
    messages only while those of a higher one have their hands full.
    """
    arguments: dict[str, Any] = {"x-max-priority": MAX_PRIORITY}
    if queue_type is QueueType.QUORUM:
        # Quorum queues have priorities without an argument from RabbitMQ 4.3 on. Attempts are counted on the row,
        # so the broker's own limit only has to be there, and a dropped pointer comes back from the dispatcher.
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 20}
    name = queue_name(lane)
    return Queue(
        name,
        Exchange(""),
        routing_key=name,
        durable=True,
        queue_arguments=arguments,
        consumer_arguments={"x-priority": consumer_priority},
    )


_SHOWN_PER_S, _SHOWN_AT_ONCE = 2.0, 10.0


class _Shown:
    """Chooses the messages that Flower shows: all while there are few, a sample of 2 a second while there are many.

    Showing one costs about as much as applying it: three events through the broker to Flower.
    """

    def __init__(self) -> None:
        self._allowance = _SHOWN_AT_ONCE
        self._at = time.monotonic()

    def task_name(self) -> str:
        """Return the task for the next message."""
        now = time.monotonic()
        self._allowance = min(_SHOWN_AT_ONCE, self._allowance + (now - self._at) * _SHOWN_PER_S)
        self._at = now
        if self._allowance < 1:
            return APPLY_EVENTS
        self._allowance -= 1
        return APPLY_EVENTS_SHOWN


class Publisher:
    """Publishes pointers over one connection of its own; for one thread at a time.

    Persistent, mandatory (a confirm doesn't cover a message that no queue took), confirms pipelined: all of a batch
    is sent before the first confirm is waited for.
    """

    def __init__(self, url: str, queue_type: QueueType) -> None:
        self._url = url
        self._queue_type = queue_type
        self._celery = Celery("tiercel", set_as_current=False)
        self._connection: Connection | None = None
        self._channel: Any = None
        self._shown = _Shown()
        self._tag = 0
        self._unconfirmed: dict[int, Sequence[Dispatch]] = {}
        self._refused: list[Dispatch] = []
        self._by_task: dict[str, int] = {}

    def publish(self, dispatches: Sequence[Dispatch]) -> list[Dispatch]:
        """Publish pointers; return those that the broker did not take.

        Each chunk is tried twice at the most, and each wait in it ends: connecting 2 s, the socket 5 s, a confirm 3 s.
        """
        failed: list[Dispatch] = []
        began = tracing.now() if tracing.on() else 0
        for start in range(0, len(dispatches), _CHUNK):
            chunk = dispatches[start : start + _CHUNK]
            left = self._publish_once(chunk)
            if left:
                # A connection that died while idle shows it only now: once more on a new one.
                left = self._publish_once(left)
            failed += left
            if left:
                failed += dispatches[start + _CHUNK :]
                break
        if began:
            _trace(dispatches, failed, began)
        return failed

    def queues(self) -> dict[Lane, tuple[int, int]]:
        """Return, for each lane's queue, how many workers listen on it and how many messages wait in it.

        Raises:
            OSError, AMQPError, KombuError: the broker doesn't answer.
        """
        try:
            self._open()
            found = {lane: self._channel.queue_declare(queue_name(lane), passive=True) for lane in Lane}
            return {lane: (queue.consumer_count, queue.message_count) for lane, queue in found.items()}
        except _BROKEN:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection without waiting for a broker that doesn't answer."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.collect(socket_timeout=0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _publish_once(self, dispatches: Sequence[Dispatch]) -> list[Dispatch]:
        self._refused = []
        self._by_task = {}
        waiting = _messages(dispatches)
        self._unconfirmed = {}
        try:
            self._open()
            while waiting:
                self._send(waiting.pop(0))
            while self._unconfirmed:
                self._connection.drain_events(timeout=_CONFIRM_S)  # type: ignore[union-attr]  # _open has set it
        except _BROKEN:
            self.close()
            lost = [dispatch for message in (*self._unconfirmed.values(), *waiting) for dispatch in message]
            self._unconfirmed = {}
            return [*self._refused, *lost]
        if self._refused:
            self.close()  # a queue is gone: the next connection declares it again
        return self._refused

    def _send(self, dispatches: Sequence[Dispatch]) -> None:
        task_id = str(uuid.uuid4())
        pairs = [[str(dispatch.pointer.event_id), dispatch.pointer.generation] for dispatch in dispatches]
        lane = dispatches[0].lane
        task = self._celery.amqp.create_task_message(
            task_id,
            self._shown.task_name(),
            args=(pairs,),
            argsrepr=f"({lane.name.lower()}: {pairs})",
            ignore_result=True,
        )
        message = self._channel.prepare_message(
            orjson.dumps(task.body),
            priority=dispatches[0].priority,
            content_type="application/json",
            content_encoding="utf-8",
            headers=task.headers,
            properties={**task.properties, "delivery_mode": 2},
        )
        self._tag += 1
        self._unconfirmed[self._tag] = dispatches
        self._by_task[task_id] = self._tag
        self._channel.basic_publish(message, exchange="", routing_key=queue_name(lane), mandatory=True)

    def _open(self) -> None:
        if self._channel is not None:
            return
        self._connection = Connection(
            self._url, connect_timeout=_CONNECT_S, heartbeat=0, transport_options=TRANSPORT_OPTIONS
        )
        self._connection.connect()
        channel: Any = self._connection.channel()
        for lane in Lane:
            queue_for(lane, self._queue_type)(channel).declare()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        self._tag = 0
        self._unconfirmed = {}
        self._channel = channel

    def _settled(self, tag: int, *, multiple: bool) -> list[Dispatch]:
        tags = [t for t in self._unconfirmed if t <= tag] if multiple else [tag]
        return [dispatch for t in tags for dispatch in self._unconfirmed.pop(t, ())]

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._settled(tag, multiple=multiple)

    def _on_nack(self, tag: int, multiple: bool, *_: object) -> None:
        self._refused += self._settled(tag, multiple=multiple)

    def _on_return(self, _error: Exception, _exchange: str, _routing_key: str, message: Any) -> None:
        # RabbitMQ returns an unroutable message before it confirms it.
        tag = self._by_task.get(message.properties.get("correlation_id", ""))
        if tag is not None:
            self._refused += self._settled(tag, multiple=False)


def _trace(dispatches: Sequence[Dispatch], failed: Sequence[Dispatch], began: int) -> None:
    """Record the publishing of each sampled event in its trace."""
    not_taken = {dispatch.pointer for dispatch in failed}
    for dispatch in dispatches:
        if dispatch.trace is not None:
            attributes: dict[str, str | int] = {
                "messaging.system": "rabbitmq",
                "messaging.destination.name": queue_name(dispatch.lane),
                "tiercel.event_id": str(dispatch.pointer.event_id),
                "tiercel.priority": dispatch.priority,
                "tiercel.generation": dispatch.pointer.generation,
            }
            error = "the broker didn't take it" if dispatch.pointer in not_taken else None
            tracing.note("publish", dispatch.trace, began, attributes, error=error)


def _messages(dispatches: Sequence[Dispatch]) -> list[list[Dispatch]]:
    """Put pointers together into messages: by lane and priority, else in their order."""
    messages: list[list[Dispatch]] = []
    for (lane, _), equals in groupby(sorted(dispatches, key=_urgency), key=_urgency):
        together, size = list(equals), _PER_MESSAGE[Lane(lane)]
        messages += [together[start : start + size] for start in range(0, len(together), size)]
    return messages


def _urgency(dispatch: Dispatch) -> tuple[int, int]:
    return int(dispatch.lane), -dispatch.priority
