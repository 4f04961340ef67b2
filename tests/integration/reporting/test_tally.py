"""The tally: every end is counted exactly once, whoever commits late, counts twice or was away."""

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from app.db.pipeline import pipelined_transaction
from app.models import Lane, Outcome
from app.observability.process_metrics import BUCKETS_S
from app.reporting import outcomes
from app.reporting.outcomes import Measured, Step
from tests.support.factories import Inbox, incoming
from tests.support.waiting import wait_until

_END = text(
    "UPDATE event SET status = 2, outcome = :outcome, claimed_at = due_at + interval '40 ms', "
    "finished_at = clock_timestamp() WHERE id = :id"
)


def accept(inbox: Inbox, count: int = 1, type: str = "price.updated") -> list[uuid.UUID]:  # noqa: A002  # the field's own name
    return [one.id for one in inbox.accept(*(incoming(type, f"sku-{n}-{uuid.uuid4()}") for n in range(count)))]


def count(engine: Engine) -> bool:
    with pipelined_transaction(engine) as session:
        return outcomes.count(session).left


def counted(engine: Engine) -> Counter[Outcome]:
    with pipelined_transaction(engine) as session:
        found: Counter[Outcome] = Counter()
        for end in outcomes.ends(session):
            found[end.outcome] += end.count
        return +found


def truth(inbox: Inbox) -> Counter[Outcome]:
    rows = inbox.sql("SELECT outcome, count(*) FROM event WHERE outcome IS NOT NULL GROUP BY 1")
    return Counter({Outcome(row[0]): row[1] for row in rows})


def end(inbox: Inbox, event_id: uuid.UUID, outcome: Outcome = Outcome.APPLIED) -> None:
    with inbox.engine.begin() as connection:
        connection.execute(_END, {"id": event_id, "outcome": int(outcome)})


def test_every_end_is_counted_once_however_often_it_is_counted(inbox: Inbox) -> None:
    for event_id in accept(inbox, 5):
        end(inbox, event_id)
    count(inbox.engine)
    count(inbox.engine)
    (stale,) = accept(inbox)
    end(inbox, stale, Outcome.STALE)
    count(inbox.engine)
    assert counted(inbox.engine) == {Outcome.APPLIED: 5, Outcome.STALE: 1} == truth(inbox)


def test_what_commits_after_the_count_that_ran_beside_it_is_counted_by_the_next(inbox: Inbox) -> None:
    early, late = accept(inbox, 2)
    with inbox.engine.begin() as open_meanwhile:
        open_meanwhile.execute(_END, {"id": late, "outcome": int(Outcome.APPLIED)})
        end(inbox, early)
        count(inbox.engine)
        assert counted(inbox.engine) == {Outcome.APPLIED: 1}
    count(inbox.engine)
    count(inbox.engine)
    assert counted(inbox.engine) == {Outcome.APPLIED: 2}


def test_a_transaction_that_began_long_before_the_count_moves_where_the_next_one_looks(inbox: Inbox) -> None:
    (late,) = accept(inbox)
    with inbox.engine.begin() as open_meanwhile:
        began = open_meanwhile.execute(text("SELECT now()")).scalar_one()
        open_meanwhile.execute(_END, {"id": late, "outcome": int(Outcome.APPLIED)})
        long_ago = "SELECT clock_timestamp() > CAST(:began AS timestamptz) + interval '1.5 s'"
        wait_until(lambda: inbox.sql(long_ago, began=began)[0][0])
        count(inbox.engine)
        ((since,),) = inbox.sql("SELECT since FROM tally_mark")
        assert since <= began
    count(inbox.engine)
    assert counted(inbox.engine) == {Outcome.APPLIED: 1}


def test_an_end_that_was_rolled_back_is_not_counted(inbox: Inbox) -> None:
    (event_id,) = accept(inbox)
    with inbox.engine.connect() as connection:
        connection.execute(_END, {"id": event_id, "outcome": int(Outcome.APPLIED)})
        connection.rollback()
    count(inbox.engine)
    assert counted(inbox.engine) == {}


def test_two_that_count_at_once_count_once(inbox: Inbox) -> None:
    for event_id in accept(inbox, 3):
        end(inbox, event_id)
    count(inbox.engine)
    for event_id in accept(inbox, 30):
        end(inbox, event_id)
    threads = [Thread(target=count, args=(inbox.engine,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(inbox.engine) == {Outcome.APPLIED: 33}


def test_a_purge_takes_nothing_back(inbox: Inbox) -> None:
    (event_id,) = accept(inbox)
    end(inbox, event_id)
    count(inbox.engine)
    inbox.sql("DELETE FROM event")
    count(inbox.engine)
    assert counted(inbox.engine) == {Outcome.APPLIED: 1}


def test_an_event_that_ends_again_after_a_replay_is_counted_again(inbox: Inbox) -> None:
    (event_id,) = accept(inbox)
    end(inbox, event_id)
    count(inbox.engine)
    end(inbox, event_id, Outcome.UNCHANGED)
    count(inbox.engine)
    assert counted(inbox.engine) == {Outcome.APPLIED: 1, Outcome.UNCHANGED: 1}


def test_after_days_without_a_dispatcher_the_past_is_counted_minute_by_minute(inbox: Inbox) -> None:
    ids = accept(inbox, 4)
    now = datetime.now(UTC)
    for event_id, age in zip(
        ids, (timedelta(days=2), timedelta(days=2, seconds=-90), timedelta(hours=5), timedelta()), strict=True
    ):
        end(inbox, event_id)
        inbox.sql("UPDATE event SET finished_at = :at WHERE id = :id", at=now - age, id=event_id)
    seen = []
    while count(inbox.engine):
        seen.append(counted(inbox.engine).total())
    assert seen == [1, 2, 3]
    count(inbox.engine)
    assert counted(inbox.engine) == {Outcome.APPLIED: 4}


def test_a_mark_from_another_server_goes_by_the_time(inbox: Inbox) -> None:
    count(inbox.engine)
    inbox.sql("UPDATE tally_mark SET snapshot = '900000000000:900000000000:', since = now() - interval '1 min'")
    (event_id,) = accept(inbox)
    end(inbox, event_id)
    count(inbox.engine)
    count(inbox.engine)
    assert counted(inbox.engine) == {Outcome.APPLIED: 1}


def test_times_are_kept_by_lane_and_type_and_strangers_share_one_type(inbox: Inbox) -> None:
    (known,) = accept(inbox)
    (strange,) = accept(inbox, type="whatever.updated")
    (stale,) = accept(inbox)
    for event_id, outcome in ((known, Outcome.APPLIED), (strange, Outcome.APPLIED), (stale, Outcome.STALE)):
        end(inbox, event_id, outcome)
        inbox.sql(
            "UPDATE event SET finished_at = claimed_at + interval '50 ms', received_at = claimed_at - interval '2 s'"
            "WHERE id = :id",
            id=event_id,
        )
    count(inbox.engine)
    with pipelined_transaction(inbox.engine) as session:
        times = {(one.measured, one.type): one for one in outcomes.times(session)}
    assert {kind for _, kind in times} == {"price", "other"}
    waits = times[Measured.WAIT, "price"]
    # 40 ms from due to claimed, each.
    assert waits.buckets == {BUCKETS_S.index(0.05): 2}
    assert waits.seconds == pytest.approx(0.08)
    # 50 ms lie just at a bound, and belong below it.
    assert times[Measured.PROCESSING, "price"].buckets == {BUCKETS_S.index(0.05): 2}
    # Only what was applied has a latency.
    assert times[Measured.APPLIED, "price"].buckets == {BUCKETS_S.index(2.5): 1}


def test_what_the_dispatcher_did_adds_up(inbox: Inbox) -> None:
    for _ in range(2):
        with pipelined_transaction(inbox.engine) as session:
            outcomes.add_work(session, {(Lane.LOW, Step.PUBLISHED): 3, (Lane.HIGH, Step.REPUBLISHED): 1})
    with pipelined_transaction(inbox.engine) as session:
        done = outcomes.work_done(session)
    assert {key: n for key, n in done.items() if n} == {
        (Lane.HIGH, Step.REPUBLISHED): 2,
        (Lane.LOW, Step.PUBLISHED): 6,
    }
    assert len(done) == len(Lane) * len(Step)


@hypothesis_settings(max_examples=15)
@given(steps=st.lists(st.sampled_from(["begin", "end", "commit", "roll back", "count"]), max_size=25))
def test_in_whatever_order_ends_begin_and_commit_the_count_is_the_truth(inbox: Inbox, steps: list[str]) -> None:

    inbox.sql("TRUNCATE event, event_key, tally_mark, tally_outcome, tally_time")
    opened = []
    for step in steps:
        if step == "begin":
            connection = inbox.engine.connect()
            connection.execute(_END, {"id": accept(inbox)[0], "outcome": 1})
            opened.append(connection)
            if len(opened) > 6:
                opened.pop(0).close()
        elif step == "end":
            end(inbox, accept(inbox)[0], Outcome.STALE)
        elif step == "count":
            count(inbox.engine)
        elif opened:
            connection = opened.pop(0)
            connection.commit() if step == "commit" else connection.rollback()
            connection.close()
    for connection in opened:
        connection.commit()
        connection.close()
    count(inbox.engine)
    assert counted(inbox.engine) == truth(inbox)
