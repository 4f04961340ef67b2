"""Owns the connection to PostgreSQL: engines, sessions, and which driver error means what.

An engine is made after the fork, never before: a socket shared by two processes corrupts both.
"""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.errors
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app.errors import Busy, Permanent, TiercelError, Transient, Unavailable

LOCK_TIMEOUT_MS = 1_000
IDLE_IN_TRANSACTION_MS = 5_000
STATEMENT_TIMEOUT_MS = 30_000

_BUSY = (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected, psycopg2.errors.SerializationFailure)
_CLASS_DATA, _CLASS_INTEGRITY, _CLASS_SYNTAX = "22", "23", "42"


def make_engine(
    url: str, *, pool_size: int = 5, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS, reconnects: bool = True
) -> Engine:
    """Return an engine whose sessions can't wait for ever: for a lock 1 s, idle in a transaction 5 s.

    A connection that is silently gone is noticed within about 5 s (TCP keepalives), one that the server has closed
    when it is taken out of the pool. Then another is made at once, or where not ``reconnects`` the next time, since to
    make one may take seconds.
    """
    options = (
        f"-c lock_timeout={LOCK_TIMEOUT_MS} -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS} "
        f"-c statement_timeout={statement_timeout_ms} -c timezone=UTC "
        # Prepared statements are planned once. Their tables' figures are always old here, and at first there are
        # none: a plan that reads a whole table would be kept while the table grows.
        "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off "
        # A plan that has to read a whole table counts as endlessly dear then, and would be compiled for 100 ms.
        "-c jit=off "
        # To start the others takes longer than any of these statements.
        "-c max_parallel_workers_per_gather=0"
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

    def check_out(connection: Any, *_: object) -> None:
        # The server speaks to an idle connection only when it ends it: a look that costs no round trip.
        inbound = select.poll()
        inbound.register(connection.fileno(), select.POLLIN)
        if not inbound.poll(0):
            return
        if not reconnects:
            raise Unavailable("the database has ended this connection")
        try:
            engine.dialect.do_ping(connection)
        except psycopg2.Error as error:
            # The others of the pool are gone, too.
            raise InvalidatePoolError(str(error)) from error

    event.listen(engine, "checkout", check_out)
    return engine


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn the errors of SQLAlchemy and of the driver into ours: Busy, Unavailable, Transient or Permanent."""
    try:
        yield
    except (SQLAlchemyError, psycopg2.Error) as error:
        raise translate(error) from error


def translate(error: SQLAlchemyError | psycopg2.Error) -> TiercelError:
    """Return our error for one of SQLAlchemy's or the driver's (PostgreSQL manual, appendix A: error codes)."""
    if isinstance(error, PoolTimeout):
        return Unavailable("every database connection is in use")
    original = error.orig if isinstance(error, DBAPIError) else error
    detail = f"{type(original).__name__}: {original}"[:500]
    code = getattr(original, "pgcode", None)
    if isinstance(original, _BUSY):
        return Busy(detail)
    if isinstance(original, psycopg2.errors.UniqueViolation):
        # Whoever made the row first was quicker by a moment; tried again, it is seen.
        return Transient(detail)
    if isinstance(original, SQLAlchemyError) or (
        isinstance(code, str) and code[:2] in {_CLASS_DATA, _CLASS_INTEGRITY, _CLASS_SYNTAX}
    ):
        return Permanent(detail)
    if isinstance(original, (psycopg2.OperationalError, psycopg2.InterfaceError)):
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
