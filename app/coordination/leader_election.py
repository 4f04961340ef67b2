"""Owns leadership: of many started, one leads in a role; a standby takes over within 5 s, also from a frozen one.

An advisory lock decides, so two can never lead at once in PostgreSQL's eyes. A leader that freezes keeps its session,
and with it the lock: a standby that sees no sign of life for STALE_S ends that session. What a leader does must be
harmless when done twice all the same: one that wakes up late finishes its statement before it learns that it was
replaced. Not for what must be exact.
"""

import threading
from contextlib import suppress
from enum import Enum
from typing import Self

import psycopg2
import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from app.db.engine import database_errors
from app.db.pipeline import pipelined_transaction
from app.errors import TiercelError, Unavailable
from app.observability.periodic import PeriodicThread

_LOG = structlog.get_logger()
POLL_S = 0.5
"""How often a standby tries."""
STALE_S = 2.5
"""Without a sign of life for so long a leader counts as frozen."""
_BEAT_S = 0.5


class Role(Enum):
    """What there is to lead, and the key of its advisory lock."""

    DISPATCHER = 0x7469657263656C
    """"tiercel"."""
    BEAT = 0x74696572636562
    """"tierceb"."""


_TRY = text("SELECT pg_try_advisory_lock(:key)")
_SEEN = text("""
INSERT INTO leader (role, seen_at) VALUES (:role, clock_timestamp())
ON CONFLICT (role) DO UPDATE SET seen_at = excluded.seen_at
""")
# A bigint key is shown in two halves (PostgreSQL manual, 54.12, pg_locks).
_FROZEN = text("""
SELECT l.pid FROM pg_locks l JOIN leader r ON r.role = :role
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND CAST(l.classid AS bigint) << 32 | CAST(l.objid AS bigint) = CAST(:key AS bigint)
  AND r.seen_at < clock_timestamp() - make_interval(secs => :stale_s)
""")
_END = text("SELECT pg_terminate_backend(:pid)")


class Standby:
    """Tries for a role on a connection of its own, whose end is the end of leading."""

    def __init__(self, engine: Engine, role: Role) -> None:
        self._engine, self._role = engine, role
        self._connection: Connection | None = None
        self._leads = False
        self._suspect: int | None = None

    @property
    def connection(self) -> Connection:
        """The connection that leads, in autocommit."""
        if self._connection is None:
            raise Unavailable("it doesn't lead")
        return self._connection

    def step(self) -> bool | None:
        """Try once, or give a sign of life: True has just begun to lead, False leads on, None stands by.

        Raises:
            TiercelError: the database doesn't answer; leading, if it did, is over.
        """
        try:
            with database_errors():
                return self._step(self._connection or self._connect())
        except TiercelError:
            self.close()
            raise

    def close(self) -> None:
        """Stop leading or trying."""
        connection, self._connection, self._leads = self._connection, None, False
        if connection is not None:
            with suppress(SQLAlchemyError, psycopg2.Error):
                connection.close()

    def _connect(self) -> Connection:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        # Out of the pool: the lock belongs to this session, so closing it must end the session.
        connection.detach()
        self._connection = connection
        return connection

    def _step(self, connection: Connection) -> bool | None:
        if self._leads:
            connection.execute(_SEEN, {"role": self._role.name})
            return False
        if connection.execute(_TRY, {"key": self._role.value}).scalar_one():
            connection.execute(_SEEN, {"role": self._role.name})
            self._leads = True
            return True
        of_role = {"role": self._role.name, "key": self._role.value, "stale_s": STALE_S}
        frozen = connection.execute(_FROZEN, of_role).scalar_one_or_none()
        # Seen twice: whoever has just taken the lock says so within a moment.
        if frozen is not None and frozen == self._suspect:
            _LOG.warning("a leader gave no sign of life: replaced", action="leader_replaced", role=self._role.name)
            connection.execute(_END, {"pid": frozen})
        self._suspect = frozen
        return None


class Heartbeat:
    """A thread that says every half second that the leader lives, for as long as its work goes on.

    ``alive`` is called by the work; where it hasn't been for ``within_s``, the heart stops, and a standby takes over.
    """

    def __init__(self, engine: Engine, role: Role, within_s: float) -> None:
        self._engine, self._role, self._within_s = engine, role, within_s
        self._alive = threading.Event()
        self._silent_s = 0.0
        self._thread = PeriodicThread(f"heartbeat-{role.name.lower()}", _BEAT_S, self._beat)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.stop()

    def alive(self) -> None:
        """Say that the work goes on."""
        self._alive.set()

    def _beat(self, _since_s: float) -> None:
        # By the count of beats: a machine that slept for a while has not been silent.
        self._silent_s = 0.0 if self._alive.is_set() else self._silent_s + _BEAT_S
        self._alive.clear()
        if self._silent_s > self._within_s:
            return
        # A database that is away sees no leader at all: its sessions are gone with it.
        with suppress(TiercelError), pipelined_transaction(self._engine) as session:
            session.execute(_SEEN, {"role": self._role.name})
