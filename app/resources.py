"""Owns what a process holds open: each resource is made, pinged and closed here, together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from amqp.exceptions import AMQPError
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy import Engine, QueuePool, text

from app.coordination.entity_locks import EntityLocks
from app.db.engine import make_engine, transaction
from app.errors import TiercelError
from app.messaging.publisher import Publisher
from config.settings import Settings


@dataclass(frozen=True, slots=True)
class Resources:
    """The open connections of one process; make it after the fork."""

    settings: Settings
    engine: Engine
    locks: EntityLocks
    publisher: Publisher
    """For one thread: the receiver's outbox, the dispatcher's loop or the worker's task."""

    @classmethod
    def open(cls, settings: Settings, *, pool_size: int = 5) -> Self:
        """Make every resource; nothing connects before its first use."""
        return cls(
            settings=settings,
            engine=make_engine(settings.database_url, pool_size=pool_size),
            locks=EntityLocks(settings.redis_url, ttl_s=settings.lease_s, wait_s=settings.lock_wait_s),
            publisher=Publisher(settings.broker_url, settings.broker_queue_type),
        )

    def ping(self) -> dict[str, str | None]:
        """Return, for each service by name, None where it answers and else what is wrong."""
        return {
            "database": _wrong(self._ping_database),
            "broker": _wrong(self._ping_broker),
            "redis": _wrong(self.locks.ping),
        }

    def connections(self) -> int:
        """Return how many connections to the database are in use."""
        pool = self.engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    def close(self) -> None:
        """Close everything; waits for nothing that doesn't answer."""
        self.publisher.close()
        self.locks.close()
        self.engine.dispose()

    def _ping_database(self) -> None:
        with transaction(self.engine) as session:
            session.execute(text("SELECT 1 FROM lane LIMIT 1"))

    def _ping_broker(self) -> None:
        with Publisher(self.settings.broker_url, self.settings.broker_queue_type) as publisher:
            publisher.queues()


def _wrong(ping: Callable[[], object]) -> str | None:
    try:
        ping()
    except (TiercelError, RedisError, AMQPError, KombuError, OSError) as error:
        return f"{type(error).__name__}: {error}"[:200]
    return None
