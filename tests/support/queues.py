"""Owns looking into the lanes' queues as a worker would."""

from typing import Any

import orjson
from kombu import Connection

from app.messaging.messages import queue_name
from app.models import Lane
from config.settings import Settings


class Queues:
    """The lanes' queues, as a worker would find them."""

    def __init__(self, settings: Settings) -> None:
        self.connection = Connection(settings.broker_url)
        self.channel: Any = self.connection.channel()

    def version(self) -> tuple[int, ...]:
        """Return RabbitMQ's major and minor version."""
        connection: Any = self.connection.connection
        return tuple(int(part) for part in connection.server_properties["version"].split(".")[:2])

    def purge(self) -> None:
        for lane in Lane:
            self.channel.queue_purge(queue_name(lane))

    def depth(self, lane: Lane) -> int:
        return int(self.channel.queue_declare(queue_name(lane), passive=True).message_count)

    def take(self, lane: Lane) -> list[tuple[str, int]]:
        """Take every message of a lane; return its pairs in order of delivery."""
        pairs = []
        while (message := self.channel.basic_get(queue_name(lane), no_ack=True)) is not None:
            pairs += [(event_id, generation) for event_id, generation in orjson.loads(message.body)[0][0]]
        return pairs
