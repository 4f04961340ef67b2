"""Owns the connection to PostgreSQL: engines, sessions, and which driver error means what.

An engine is made after the fork, never before: a socket shared by two processes corrupts both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any

import psycopg2.errors
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app.errors import Busy, Permanent, TiercelError, Transient, Unavailable

Executor = Session | Connection
"""What runs SQL: a session where objects are wanted, a bare connection on the hot path."""

LOCK_TIMEOUT_MS = 1_000
IDLE_IN_TRANSACTION_MS = 5_000
STATEMENT_TIMEOUT_MS = 30_000

_BUSY = (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected, psycopg2.errors.SerializationFailure)
_CLASS_DATA, _CLASS_INTEGRITY, _CLASS_SYNTAX = "22", "23", "42"


def make_engine(url: str, *, pool_size: int = 5, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS) -> Engine:
    """Return an engine whose sessions can't wait for ever: for a lock 1 s, idle in a transaction 5 s.

    A connection that is silently gone is noticed within about 5 s (TCP keepalives).
    """
    options = (
        f"-c lock_timeout={LOCK_TIMEOUT_MS} -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS} "
        f"-c statement_timeout={statement_timeout_ms} -c timezone=UTC"
    )
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=2,
        pool_use_lifo=True,
        connect_args={
            "application_name": "tiercel",
            "connect_timeout": 2,
            "options": options,
            "keepalives_idle": 2,
            "keepalives_interval": 1,
            "keepalives_count": 3,
            "tcp_user_timeout": 5_000,
        },
    )
    event.listen(engine, "before_cursor_execute", _take_along, retval=True)
    return engine


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn the driver's errors into ours: Busy, Unavailable, Transient or Permanent."""
    try:
        yield
    except SQLAlchemyError as error:
        raise translate(error) from error


def translate(error: SQLAlchemyError) -> TiercelError:
    """Return our error for one of the driver's (PostgreSQL manual, appendix A: error codes)."""
    if isinstance(error, PoolTimeout):
        return Unavailable("every database connection is in use")
    if not isinstance(error, DBAPIError):
        return Permanent(f"{type(error).__name__}: {error}"[:500])
    original = error.orig
    detail = f"{type(original).__name__}: {original}"[:500]
    code = getattr(original, "pgcode", None)
    if isinstance(original, _BUSY):
        return Busy(detail)
    if isinstance(code, str) and code[:2] in {_CLASS_DATA, _CLASS_INTEGRITY, _CLASS_SYNTAX}:
        return Permanent(detail)
    if isinstance(error, (OperationalError, InterfaceError)) or error.connection_invalidated:
        return Unavailable(f"the database can't serve: {detail}")
    return Transient(detail)


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """Open a session in one transaction: commit at the end, roll back on any error, in our error tree.

    Raises:
        Busy, Unavailable, Transient, Permanent: what the database said.
    """
    with database_errors(), Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def work(engine: Engine) -> Iterator[Connection]:
    """Open a bare connection in one transaction: for the hot path.

    Its BEGIN travels with the first statement, and its COMMIT with the last one where that has the execution option
    ``LAST`` (then its result isn't to be had): two round trips less an event.

    Raises:
        Busy, Unavailable, Transient, Permanent: what the database said.
    """
    with database_errors(), engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        connection.info[_STATE] = _Ride.WAITING
        try:
            yield connection
            if connection.info[_STATE] is _Ride.OPEN:
                connection.exec_driver_sql("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise
        finally:
            if not connection.invalidated:
                connection.info.pop(_STATE, None)


@contextmanager
def statement(engine: Engine) -> Iterator[Connection]:
    """Open a bare connection on which each statement is a transaction of its own: no BEGIN, no COMMIT to wait for.

    With the execution option ``SOON`` a statement is visible at once, and safe from a crash of the server a moment
    later (PostgreSQL manual, 30.4: asynchronous commit).

    Raises:
        Busy, Unavailable, Transient, Permanent: what the database said.
    """
    with database_errors(), engine.connect() as plain:
        yield plain.execution_options(isolation_level="AUTOCOMMIT")


LAST = {"tiercel_last": True}
SOON = {"tiercel_soon": True}
_STATE = "tiercel_transaction"


class _Ride(Enum):
    WAITING = auto()
    """The next statement takes BEGIN along."""
    OPEN = auto()
    DONE = auto()


def _take_along(  # noqa: PLR0913, PLR0917  # SQLAlchemy's signature
    connection: Connection, _cursor: Any, sql: str, parameters: Any, context: Any, _many: bool
) -> tuple[str, Any]:
    """Put BEGIN, COMMIT or the commit's kind into a statement's own message (simple query protocol)."""
    options = {} if context is None else context.execution_options
    if connection.info.get(_STATE) is _Ride.WAITING:
        connection.info[_STATE] = _Ride.OPEN
        sql = f"BEGIN;{sql}"
    if options.get("tiercel_last") and connection.info.get(_STATE) is _Ride.OPEN:
        connection.info[_STATE] = _Ride.DONE
        sql = f"{sql};COMMIT"
    if options.get("tiercel_soon"):
        sql = f"SET LOCAL synchronous_commit = off;{sql}"
    return sql, parameters


def _roll_back(connection: Connection) -> None:
    if connection.invalidated or connection.info[_STATE] is _Ride.WAITING:
        return
    connection.info[_STATE] = _Ride.DONE
    try:
        connection.exec_driver_sql("ROLLBACK")
    except SQLAlchemyError:
        connection.invalidate()
