"""Owns the connection to PostgreSQL: engines, sessions, and which driver error means what.

An engine is made after the fork, never before: a socket shared by two processes corrupts both.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2.errors
from sqlalchemy import Connection, Engine, create_engine
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
    return create_engine(
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
    """Open a bare connection in one transaction: for the hot path, where a session's bookkeeping costs a third.

    Raises:
        Busy, Unavailable, Transient, Permanent: what the database said.
    """
    with database_errors(), engine.begin() as connection:
        yield connection


@contextmanager
def statement(engine: Engine) -> Iterator[Connection]:
    """Open a bare connection on which each statement is a transaction of its own: no BEGIN, no COMMIT to wait for.

    Raises:
        Busy, Unavailable, Transient, Permanent: what the database said.
    """
    with database_errors(), engine.connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")
