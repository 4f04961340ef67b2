"""Bare connections: whole transactions in few round trips, and nothing left open behind an error."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.db.engine import make_engine, transaction
from app.db.pipeline import (
    ASYNC_COMMIT,
    COMMITTED_FIRST,
    DEFERRED,
    WITH_COMMIT,
    PipelinedConnection,
    autocommit,
    pipelined_transaction,
)
from app.errors import Busy, Transient, Unavailable
from config.settings import Settings


@pytest.fixture
def table(engine: Engine) -> Iterator[Engine]:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS bare_test"))
        connection.execute(text("CREATE TABLE bare_test (n int PRIMARY KEY)"))
    yield engine
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE bare_test"))


INSERT = text("INSERT INTO bare_test VALUES (:n) RETURNING n")
SETTING = text("SELECT current_setting('synchronous_commit')")
COUNT = text("SELECT count(*) FROM bare_test")


def count(engine: Engine) -> int:
    with autocommit(engine) as connection:
        return int(connection.execute(COUNT).scalar_one())


def test_work_commits_at_its_end_and_not_before(table: Engine) -> None:
    with pipelined_transaction(table) as connection:
        assert [row.n for row in connection.execute(INSERT, {"n": 1})] == [1]
        assert count(table) == 0
    assert count(table) == 1


def test_the_last_statement_may_take_the_commit_along(table: Engine) -> None:
    with pipelined_transaction(table) as connection:
        connection.execute(INSERT, {"n": 1})
        connection.execute(INSERT, {"n": 2}, execution_options=WITH_COMMIT)
        assert count(table) == 2


def test_a_statement_ahead_is_committed_before_the_transaction_it_travels_with(table: Engine) -> None:
    with pytest.raises(Transient), pipelined_transaction(table) as connection:
        connection.execute(INSERT, {"n": 1}, execution_options=COMMITTED_FIRST)
        assert connection.execute(COUNT).scalar_one() == 1
        connection.execute(INSERT, {"n": 2})
        connection.execute(INSERT, {"n": 2})
    assert count(table) == 1


def test_a_statement_ahead_doesn_t_wait_for_the_disk_and_what_follows_does(table: Engine) -> None:
    with autocommit(table) as connection:
        before = connection.execute(SETTING).scalar_one()
        connection.execute(text("SET synchronous_commit = on"))
    with pipelined_transaction(table) as connection:
        connection.execute(INSERT, {"n": 1}, execution_options=COMMITTED_FIRST)
        assert connection.execute(SETTING).scalar_one() == "on"
    with autocommit(table) as connection:
        connection.execute(text(f"SET synchronous_commit = {before}"))


def test_a_statement_ahead_that_nothing_follows_is_an_error(table: Engine) -> None:
    with pytest.raises(RuntimeError, match="COMMITTED_FIRST"), pipelined_transaction(table) as connection:
        connection.execute(INSERT, {"n": 1}, execution_options=COMMITTED_FIRST)


def test_work_without_a_statement_is_nothing(table: Engine) -> None:
    with pipelined_transaction(table):
        pass
    assert count(table) == 0


def test_an_error_keeps_nothing_and_leaves_no_transaction_open(table: Engine) -> None:
    for options in ({}, WITH_COMMIT):
        with pytest.raises(Transient), pipelined_transaction(table) as connection:
            connection.execute(INSERT, {"n": 1})
            connection.execute(INSERT, {"n": 1}, execution_options=options)
    with pytest.raises(ZeroDivisionError), pipelined_transaction(table) as connection:
        connection.execute(INSERT, {"n": 1})
        raise ZeroDivisionError
    assert count(table) == 0
    with table.connect() as connection:
        states = connection.execute(text("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"))
        assert states.scalar_one() == 0


def test_a_statement_that_commits_soon_is_visible_at_once_and_changes_no_other(table: Engine) -> None:
    with autocommit(table) as connection:
        before = connection.execute(SETTING).scalar_one()
        assert connection.execute(INSERT, {"n": 1}, execution_options=ASYNC_COMMIT).one().n == 1
        assert connection.execute(SETTING, execution_options=ASYNC_COMMIT).scalar_one() == "off"
        assert connection.execute(SETTING).scalar_one() == before
    assert count(table) == 1


def test_a_session_after_bare_work_is_a_transaction_again(table: Engine) -> None:
    one = make_engine(table.url.render_as_string(hide_password=False), pool_size=1)
    with autocommit(one) as connection:
        connection.execute(INSERT, {"n": 1})
    with pytest.raises(ZeroDivisionError), transaction(one) as session:
        session.execute(INSERT, {"n": 2})
        raise ZeroDivisionError
    assert count(table) == 1
    one.dispose()


def test_a_lock_that_is_not_free_in_time_is_busy(table: Engine) -> None:
    with pipelined_transaction(table) as holder:
        holder.execute(text("LOCK TABLE bare_test"))
        with pytest.raises(Busy), autocommit(table) as connection:
            connection.execute(COUNT)


def end(table: Engine, backends: list[int]) -> None:
    """End server processes, and come back when their last words are on the way."""
    with autocommit(table) as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid, 5000) FROM unnest(CAST(:pids AS int[])) AS pid"), {"pids": backends}
        )


BACKEND = text("SELECT pg_backend_pid()")


def test_idle_connections_that_were_ended_are_made_anew_and_fail_nobody(table: Engine) -> None:
    one = make_engine(table.url.render_as_string(hide_password=False), pool_size=4)
    with ExitStack() as open_ones:
        held = [open_ones.enter_context(autocommit(one)) for _ in range(4)]
        backends = [bare.execute(BACKEND).scalar_one() for bare in held]
    end(table, backends)
    for open_one in (pipelined_transaction, autocommit):
        with open_one(one) as connection:
            assert connection.execute(COUNT).scalar_one() == 0
    with transaction(one) as session:
        backend = session.execute(BACKEND).scalar_one()
    end(table, [backend])
    with transaction(one) as session:
        assert session.execute(COUNT).scalar_one() == 0
    one.dispose()


def test_an_idle_connection_that_was_only_spoken_to_is_kept(table: Engine) -> None:
    one = make_engine(table.url.render_as_string(hide_password=False), pool_size=1)
    with autocommit(one) as connection:
        backend = connection.execute(BACKEND).scalar_one()
        connection.execute(text("LISTEN bare_test"))
    with table.begin() as other:
        other.execute(text("NOTIFY bare_test"))
    for _ in range(2):
        with autocommit(one) as connection:
            assert connection.execute(BACKEND).scalar_one() == backend
    one.dispose()


def test_a_connection_that_was_ended_in_the_middle_is_unavailable_once_and_then_made_anew(table: Engine) -> None:
    one = make_engine(table.url.render_as_string(hide_password=False), pool_size=2)
    with pytest.raises(Unavailable), pipelined_transaction(one) as connection:
        end(table, [connection.execute(BACKEND).scalar_one()])
        connection.execute(COUNT)
    assert count(one) == 0
    one.dispose()


def test_a_pool_that_is_empty_for_too_long_is_unavailable(table: Engine, settings: Settings) -> None:
    one = make_engine(table.url.render_as_string(hide_password=False), pool_size=1)
    with autocommit(one), pytest.raises(Unavailable, match="in use"), autocommit(one):
        pass
    one.dispose()


def test_what_the_driver_cannot_name_is_worth_another_try(table: Engine) -> None:
    with pytest.raises(Transient), autocommit(table) as connection:
        connection.execute(text("DO $$ BEGIN RAISE 'odd'; END $$"))


def test_threads_share_an_engine(table: Engine) -> None:
    def insert(first: int) -> None:
        for n in range(first, first + 20):
            with pipelined_transaction(table) as connection:
                connection.execute(INSERT, {"n": n})

    threads = [threading.Thread(target=insert, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(table) == 60


def test_statements_that_may_travel_later_are_committed_with_the_next_or_at_the_end(table: Engine) -> None:
    with pipelined_transaction(table) as connection:
        connection.execute(INSERT, {"n": 1})
        connection.execute(INSERT, {"n": 2}, execution_options=DEFERRED)
        connection.execute(INSERT, {"n": 3}, execution_options=WITH_COMMIT)
    with pipelined_transaction(table) as connection:
        connection.execute(INSERT, {"n": 4})
        connection.execute(INSERT, {"n": 5}, execution_options=DEFERRED)
    assert count(table) == 5


@pytest.mark.parametrize("open_one", [pipelined_transaction, autocommit])
def test_a_statement_that_nothing_would_carry_is_an_error(table: Engine, open_one: Any) -> None:
    with pytest.raises(RuntimeError, match="left behind"), open_one(table) as connection:
        connection.execute(INSERT, {"n": 1}, execution_options=DEFERRED)


def test_an_interrupted_roll_back_leaves_no_open_transaction(table: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make_engine(table.url.render_as_string(hide_password=False), pool_size=1)

    def interrupted(_connection: PipelinedConnection) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(PipelinedConnection, "roll_back", interrupted)
        with pytest.raises(KeyboardInterrupt), pipelined_transaction(one) as connection:
            connection.execute(INSERT, {"n": 1})
            raise ZeroDivisionError
    with autocommit(one) as connection:
        connection.execute(INSERT, {"n": 2})
        assert count(table) == 1
    one.dispose()


def test_where_none_is_made_in_place_one_that_was_ended_is_unavailable_and_the_next_is_new(table: Engine) -> None:
    one = make_engine(table.url.render_as_string(hide_password=False), pool_size=1, reconnects=False)
    with autocommit(one) as connection:
        backends = [connection.execute(BACKEND).scalar_one()]
    end(table, backends)
    with pytest.raises(Unavailable), autocommit(one) as connection:
        connection.execute(COUNT)
    with autocommit(one) as connection:
        assert connection.execute(BACKEND).scalar_one() not in backends
    one.dispose()
