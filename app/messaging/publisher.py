"""Owns RabbitMQ: one queue a lane, and publishing pointers with pipelined confirms.

Nothing here can lose an event: a message is a pointer, and what isn't confirmed is said to be unpublished.
"""

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from amqp.exceptions import AMQPError
from kombu import Connection, Exchange, Queue
from kombu.exceptions import KombuError

from app.messaging.messages import Messages, Shown, flatten, group_into_messages, queue_name
from app.messaging.pointer import Dispatch
from app.models import Lane
from app.observability import tracing
from config.settings import QueueType

MAX_PRIORITY = 9
_CHUNK = 500
_CONNECT_S, _SOCKET_S, _CONFIRM_S = 2, 5, 3.0
_AT_ONCE_S = 0.0001
_UNDER_WAY_BYTES = 64 * 1024
"""What may be sent without waiting before confirms have come for it; the socket takes that much from any broker."""
_BROKEN = (AMQPError, KombuError, OSError)

TRANSPORT_OPTIONS: dict[str, Any] = {"read_timeout": _SOCKET_S, "write_timeout": _SOCKET_S}
"""Without these a frozen broker holds a publish for ever, whatever the confirm's own timeout."""


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


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message that isn't confirmed yet."""

    dispatches: Sequence[Dispatch]
    task_id: str
    size: int
    at: float


class Publisher:
    """Publishes pointers over one connection of its own; for one thread at a time.

    Persistent, mandatory (a confirm doesn't cover a message that no queue took), confirms pipelined: all of a batch
    is sent before the first confirm is waited for.
    """

    def __init__(self, url: str, queue_type: QueueType) -> None:
        self._url = url
        self._queue_type = queue_type
        self._connection: Connection | None = None
        self._channel: Any = None
        self._messages: Messages
        self._shown = Shown()
        self._tag = 0
        self._unconfirmed: dict[int, _Sent] = {}
        self._under_way = 0
        self._refused: list[Dispatch] = []

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

    def offer(self, dispatches: Sequence[Dispatch]) -> list[Dispatch]:
        """Send pointers where that waits for nobody, and ask for their ``confirms`` later; return those to publish.

        These are all where there is no connection, the rest where much is unconfirmed, and also those that were
        offered before where the connection turns out to be broken.
        """
        if self._channel is None:
            return list(dispatches)
        began = tracing.now() if tracing.on() else 0
        waiting = group_into_messages(dispatches)
        try:
            while waiting and self._has_room():
                self._send(waiting.pop(0))
        except _BROKEN:
            return [*self.give_up(), *flatten(waiting)]
        left = flatten(waiting)
        if began:
            still = {dispatch.pointer for dispatch in left}
            _trace([dispatch for dispatch in dispatches if dispatch.pointer not in still], (), began)
        return left

    def confirms(self, within_s: float = 0.0) -> list[Dispatch]:
        """Take what confirms there are for what was offered, or wait for all of them; return those to publish again.

        These are what the broker refused, and all that is unconfirmed where that, or 3 s without a confirm, shows
        that something is wrong with the connection.
        """
        try:
            self._drain(time.monotonic() + within_s)
        except _BROKEN:
            return self.give_up()
        oldest = next(iter(self._unconfirmed.values()), None)
        if self._refused or (oldest is not None and time.monotonic() >= oldest.at + _CONFIRM_S):
            return self.give_up()
        return []

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

    def give_up(self) -> list[Dispatch]:
        """Close the connection; return what it took from us and isn't confirmed."""
        self.close()
        lost = [*self._refused, *flatten([sent.dispatches for sent in self._unconfirmed.values()])]
        self._unconfirmed, self._under_way, self._refused = {}, 0, []
        return lost

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
        waiting = group_into_messages(dispatches)
        try:
            self._open()
            while waiting:
                self._send(waiting.pop(0))
            while self._unconfirmed:
                self._connection.drain_events(timeout=_CONFIRM_S)  # type: ignore[union-attr]  # _open has set it
        except _BROKEN:
            return [*self.give_up(), *flatten(waiting)]
        if self._refused:
            return self.give_up()  # a queue is gone: the next connection declares it again
        return []

    def _has_room(self) -> bool:
        """Tell whether a message can be sent without waiting for the broker to read."""
        if self._under_way >= _UNDER_WAY_BYTES // 2:
            self._drain(time.monotonic())
        return self._under_way < _UNDER_WAY_BYTES

    def _drain(self, until: float) -> None:
        """Take confirms until all have come, or none is there any more after a monotonic time."""
        with suppress(TimeoutError):
            while self._unconfirmed and self._connection is not None:
                # Never 0: py-amqp would go round and round within a frame of which a part is there.
                self._connection.drain_events(timeout=max(until - time.monotonic(), _AT_ONCE_S))

    def _send(self, dispatches: Sequence[Dispatch]) -> None:
        task_id, frames = self._messages.make(dispatches, shown=self._shown.is_next())
        self._tag += 1
        self._unconfirmed[self._tag] = _Sent(dispatches, task_id, len(frames), time.monotonic())
        self._under_way += len(frames)
        self._connection.connection.transport.write(frames)  # type: ignore[union-attr]  # there is a channel

    def _open(self) -> None:
        if self._channel is not None:
            return
        self._connection = Connection(
            self._url, connect_timeout=_CONNECT_S, heartbeat=0, transport_options=TRANSPORT_OPTIONS
        )
        self._connection.connect()
        # Whatever the way to the broker is like: the kernel's own bound begins at a few segments.
        self._connection.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * _UNDER_WAY_BYTES)
        channel: Any = self._connection.channel()
        # One that the broker closes is given up with its connection; to open it again would wait for the broker.
        channel._do_revive = lambda: None  # noqa: SLF001
        for lane in Lane:
            queue_for(lane, self._queue_type)(channel).declare()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        self._tag = 0
        self._messages = Messages(channel=channel.channel_id, frame_max=self._connection.connection.frame_max)
        self._channel = channel

    def _settled(self, tag: int, *, multiple: bool) -> list[Dispatch]:
        tags = [t for t in self._unconfirmed if t <= tag] if multiple else [tag]
        settled = [sent for t in tags if (sent := self._unconfirmed.pop(t, None)) is not None]
        self._under_way -= sum(sent.size for sent in settled)
        return flatten([sent.dispatches for sent in settled])

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._settled(tag, multiple=multiple)

    def _on_nack(self, tag: int, multiple: bool, *_: object) -> None:
        self._refused += self._settled(tag, multiple=multiple)

    def _on_return(self, _error: Exception, _exchange: str, _routing_key: str, message: Any) -> None:
        # RabbitMQ returns an unroutable message before it confirms it.
        task_id = message.properties.get("correlation_id", "")
        tag = next((tag for tag, sent in self._unconfirmed.items() if sent.task_id == task_id), None)
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
