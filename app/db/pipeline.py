"""Owns the hot path to PostgreSQL: the driver's own cursor on the engine's pool, with as few round trips as can be.

SQLAlchemy's engine owns the connections and its models the schema; here its statement machinery is left out, which
costs several times what the driver does (docs/decisions/0011-bare-connections-on-the-hot-path.md).
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extras import NamedTupleCursor
from sqlalchemy import Engine, TextClause
from sqlalchemy.orm import Session

from app.db.engine import database_errors

WITH_COMMIT: dict[str, Any] = {"last": True}
"""The statement takes COMMIT along; its result isn't to be had."""
ASYNC_COMMIT: dict[str, Any] = {"soon": True}
"""The commit is visible at once, and safe from a crash of the server a moment later (PostgreSQL manual, 30.4)."""
DEFERRED: dict[str, Any] = {"later": True}
"""The statement travels with the next one; its result isn't to be had."""
COMMITTED_FIRST: dict[str, Any] = {"ahead": True}
"""The statement commits by itself, without waiting for the disk, ahead of the transaction whose first statement it
travels with; its result isn't to be had."""
_WITHOUT_WAITING = b"SET LOCAL synchronous_commit = off"
_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")
_TYPED = re.compile(r"CAST\(:(\w+) AS ([\w\[\]]+)\)")
_PREPARABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


class _Transaction(Enum):
    EACH = auto()
    """Each statement is one of its own."""
    WAITING = auto()
    """The next statement takes BEGIN along."""
    OPEN = auto()
    DONE = auto()


class Answer:
    """What a statement returned, with the few words of SQLAlchemy's result that we use."""

    def __init__(self, cursor: Any) -> None:
        self.rowcount: int = -1 if cursor is None else cursor.rowcount
        self._rows: list[Any] = cursor.fetchall() if cursor is not None and cursor.description else []

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> list[Any]:
        """Return every row."""
        return self._rows

    def one_or_none(self) -> Any:
        """Return the row, or None; there is never more than one where this is asked."""
        return self._rows[0] if self._rows else None

    def one(self) -> Any:
        """Return the row that is there."""
        return self._rows[0]

    def scalar_one(self) -> Any:
        """Return the first column of the row that is there."""
        return self._rows[0][0]

    def scalar_one_or_none(self) -> Any:
        """Return the first column of the row, or None."""
        return self._rows[0][0] if self._rows else None


class PipelinedConnection:
    """A connection of the driver that runs the same statements as a session does."""

    def __init__(self, connection: Any, transaction: _Transaction, prepared: set[str]) -> None:
        self._connection = connection
        self._prepared = prepared
        self._transaction = transaction
        self._ahead: list[bytes] = []
        self._later: list[bytes] = []

    def execute(
        self,
        statement: TextClause,
        parameters: Mapping[str, Any] | None = None,
        *,
        execution_options: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Run a statement; its options are COMMITTED_FIRST, DEFERRED, WITH_COMMIT and ASYNC_COMMIT.

        Raises:
            psycopg2.Error: the database refused, or isn't there.
        """
        options = execution_options or {}
        with self._connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
            sql = cursor.mogrify(self._call(statement.text), parameters or {})
            if options.get("later"):
                self._later.append(sql)
                return Answer(None)
            if options.get("ahead"):
                self._ahead += [b"BEGIN", _WITHOUT_WAITING, sql, b"COMMIT"]
                return Answer(None)
            cursor.execute(b";".join([*self._before(options), sql, *self._behind(options)]))
            return Answer(cursor)

    def _call(self, sql: str) -> str:
        """Return what runs a statement, after preparing it where this connection hasn't yet.

        Planning costs PostgreSQL twice as much as the work of most statements here. To prepare is no part of a
        transaction: it stays when that rolls back, and a statement that can't be prepared keeps nothing.
        """
        known = _prepared(sql)
        if known.definition and known.name not in self._prepared:
            self._plain(known.definition.encode())
            self._prepared.add(known.name)
        return known.call

    def _before(self, options: Mapping[str, Any]) -> list[bytes]:
        before, self._later = self._later, []
        if options.get("soon"):
            before.insert(0, _WITHOUT_WAITING)
        if self._transaction is _Transaction.WAITING:
            self._transaction = _Transaction.OPEN
            before.insert(0, b"BEGIN")
        ahead, self._ahead = self._ahead, []
        return ahead + before

    def _behind(self, options: Mapping[str, Any]) -> list[bytes]:
        if not options.get("last") or self._transaction is not _Transaction.OPEN:
            return []
        self._transaction = _Transaction.DONE
        return [b"COMMIT"]

    def fileno(self) -> int:
        """Return the connection's file descriptor."""
        return int(self._connection.fileno())

    def commit(self) -> None:
        """Commit what is open, with the statements that still wait to travel.

        Raises:
            RuntimeError: a statement has nothing to travel with: it would be lost.
        """
        if self._ahead or (self._later and self._transaction is not _Transaction.OPEN):
            raise RuntimeError("a COMMITTED_FIRST or DEFERRED statement was left behind")
        if self._transaction is _Transaction.OPEN:
            self._plain(b";".join([*self._later, b"COMMIT"]))
            self._transaction = _Transaction.DONE

    def roll_back(self) -> None:
        """Roll back whatever the server has open."""
        if self._connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
            self._plain(b"ROLLBACK")

    def _plain(self, command: bytes) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(command)


Executor = Session | PipelinedConnection
"""What runs SQL: a session where objects are wanted, a bare connection on the hot path."""


@contextmanager
def pipelined_transaction(engine: Engine) -> Iterator[PipelinedConnection]:
    """Open a bare connection in one transaction: commit at the end, roll back on any error, in our error tree.

    Raises:
        Busy, Unavailable, Transient, Permanent: what the database said.
    """
    with _pipelined(engine, _Transaction.WAITING) as connection:
        yield connection
        connection.commit()


@contextmanager
def autocommit(engine: Engine) -> Iterator[PipelinedConnection]:
    """Open a bare connection on which each statement is a transaction of its own: no BEGIN, no COMMIT to wait for.

    Raises:
        Busy, Unavailable, Transient, Permanent: what the database said.
    """
    with _pipelined(engine, _Transaction.EACH) as connection:
        yield connection
        connection.commit()


@contextmanager
def _pipelined(engine: Engine, transaction: _Transaction) -> Iterator[PipelinedConnection]:
    with database_errors():
        pooled = engine.raw_connection()
        driver: Any = pooled.driver_connection
        driver.autocommit = True
        # The pool keeps this for as long as the connection lives, and so does the server what was prepared.
        bare = PipelinedConnection(driver, transaction, pooled.info.setdefault("tiercel_prepared", set()))
        try:
            yield bare
        except BaseException:
            if not driver.closed:
                with suppress(psycopg2.Error):
                    bare.roll_back()
            raise
        finally:
            if driver.closed:
                # One that died by itself says that the others of the pool are gone, too.
                pooled.invalidate()
                engine.dispose()
            elif driver.info.transaction_status != TRANSACTION_STATUS_IDLE:
                # Even the rolling back was interrupted, as by a time limit: nobody gets an open transaction.
                pooled.invalidate()
            else:
                driver.autocommit = False
            pooled.close()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement as the driver runs it."""

    name: str
    definition: str
    """PREPARE …; empty where it can't be prepared."""
    call: str
    """EXECUTE … with the driver's parameters, or the statement itself."""


@cache
def _prepared(sql: str) -> _Prepared:
    """Return a statement ready to be prepared; a parameter has the type of its CAST, else the server infers it."""
    if not sql.lstrip().startswith(_PREPARABLE):
        return _Prepared("", "", _PARAMETER.sub(r"%(\1)s", sql))
    name = f"tiercel_{hashlib.sha256(sql.encode()).hexdigest()[:16]}"
    types = dict(_TYPED.findall(sql))
    names = list(dict.fromkeys(_PARAMETER.findall(sql)))
    body = _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", sql)
    declared = ", ".join(types.get(parameter, "unknown") for parameter in names)
    given = ", ".join(
        f"CAST(%({parameter})s AS {types[parameter]})" if parameter in types else f"%({parameter})s"
        for parameter in names
    )
    bracket = (f" ({declared})", f" ({given})") if names else ("", "")
    return _Prepared(name, f"PREPARE {name}{bracket[0]} AS {body}", f"EXECUTE {name}{bracket[1]}")
