"""What goes into a lane's window: shared between sources by weight, at a cost that the backlog doesn't change."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from app.db import pipeline
from app.db.engine import make_engine
from app.db.pipeline import pipelined_transaction
from app.dispatcher.loop import _OPEN_BELOW, Dispatcher
from app.dispatcher.refill import Refill
from app.inbox import deadlines, due
from app.inbox.due import LaneLoad
from app.messaging.pointer import Dispatch
from app.models import Lane
from app.resources import Resources
from config.settings import Settings
from tests.support.factories import Inbox, incoming
from tests.support.queues import Queues

A, B, C = 1, 2, 3


def backlog(inbox: Inbox, source_id: int, count: int, priority: int = 5) -> None:
    """Let events of a source wait behind the high lane's window."""
    inbox.sql("UPDATE lane SET open = false")
    stored = inbox.accept(*(incoming(entity_id=f"{source_id}/{number}") for number in range(count)))
    inbox.sql(
        "UPDATE event SET source_id = :source_id, priority = :priority WHERE id = ANY(CAST(:ids AS uuid[]))",
        source_id=source_id,
        priority=priority,
        ids=[str(event.id) for event in stored],
    )


def take(resources: Resources, refill: Refill, window: int) -> list[Dispatch]:
    with pipelined_transaction(resources.engine) as session:
        (load,) = (load for load in due.loads(session) if load.lane is Lane.HIGH)
        return refill.take(session, load, window)


def by_source(inbox: Inbox, taken: list[Dispatch]) -> Counter[int]:
    ids = [str(dispatch.pointer.event_id) for dispatch in taken]
    rows = inbox.sql("SELECT source_id FROM event WHERE id = ANY(CAST(:ids AS uuid[]))", ids=ids)
    return Counter(row[0] for row in rows)


def drain(inbox: Inbox, count: int) -> None:
    """End the events that a worker would have taken from the queue by now, the most urgent first."""
    inbox.sql(
        "UPDATE event SET status = 2, outcome = 1 WHERE id IN (SELECT id FROM event WHERE status = 0 "
        "AND dispatched_at IS NOT NULL ORDER BY priority DESC LIMIT :count)",
        count=count,
    )


@pytest.fixture
def refill() -> Refill:
    return Refill(Lane.HIGH)


def test_one_source_has_the_whole_window_the_most_urgent_first(
    inbox: Inbox, resources: Resources, refill: Refill
) -> None:
    backlog(inbox, A, 20, priority=3)
    backlog(inbox, A, 10, priority=8)
    taken = take(resources, refill, 15)
    assert [dispatch.priority for dispatch in taken] == [8] * 10 + [3] * 5


def test_two_that_flood_share_the_window_whatever_their_priorities(
    inbox: Inbox, resources: Resources, refill: Refill
) -> None:
    backlog(inbox, A, 100, priority=9)
    backlog(inbox, B, 100, priority=0)
    taken = take(resources, refill, 20)
    assert by_source(inbox, taken) == {A: 10, B: 10}
    # In turns, behind whatever of those that don't flood is in the queue already
    assert {dispatch.priority for dispatch in taken} == {0}
    turns = [by_source(inbox, taken[place : place + 2]) for place in range(0, 20, 2)]
    assert turns == [{A: 1, B: 1}] * 10


def test_a_weight_is_a_share(inbox: Inbox, resources: Resources, refill: Refill) -> None:
    with inbox.engine.begin() as connection:
        connection.execute(text("UPDATE source SET weight = 3 WHERE id = 1"))
    backlog(inbox, A, 100)
    backlog(inbox, B, 100)
    assert by_source(inbox, take(resources, refill, 40)) == {A: 30, B: 10}


def test_what_one_does_not_need_is_the_others(inbox: Inbox, resources: Resources, refill: Refill) -> None:
    for source_id, count in ((A, 100), (B, 2), (C, 3)):
        backlog(inbox, source_id, count)
    assert by_source(inbox, take(resources, refill, 50)) == {A: 45, B: 2, C: 3}


def test_whoever_stays_within_its_share_goes_before_a_flood_of_more_urgent_events(
    inbox: Inbox, resources: Resources, refill: Refill
) -> None:
    backlog(inbox, A, 100, priority=9)
    backlog(inbox, B, 2, priority=0)
    taken = take(resources, refill, 20)
    assert [dispatch.priority for dispatch in taken] == [9] * 2 + [0] * 18
    assert by_source(inbox, taken[:2]) == {B: 2}


def test_a_newcomer_does_not_wait_for_the_pointers_of_a_flood(
    inbox: Inbox, resources: Resources, refill: Refill
) -> None:
    # Given a window that one source has filled
    backlog(inbox, A, 100)
    assert len(take(resources, refill, 40)) == 40
    # When another comes, it goes beyond the window, and ahead
    backlog(inbox, B, 2)
    taken = take(resources, refill, 40)
    assert (by_source(inbox, taken), [dispatch.priority for dispatch in taken]) == ({B: 2}, [9, 9])
    # By a tenth of it at the most, and not twice
    backlog(inbox, C, 10)
    assert by_source(inbox, take(resources, refill, 40)) == {C: 2}
    assert take(resources, refill, 40) == []
    # Also where the window has shrunk meanwhile
    inbox.sql("DELETE FROM event WHERE source_id <> :a", a=A)
    backlog(inbox, B, 1)
    assert by_source(inbox, take(resources, refill, 10)) == {B: 1}


def test_turns_go_on_from_one_refill_to_the_next(inbox: Inbox, resources: Resources, refill: Refill) -> None:
    backlog(inbox, A, 100, priority=9)
    backlog(inbox, B, 100, priority=0)
    total: Counter[int] = Counter()
    for _ in range(30):
        taken = take(resources, refill, 6)
        total += by_source(inbox, taken)
        # The queue gives out the more urgent ones first, and still each source has its turns
        drain(inbox, 3)
    assert abs(total[A] - total[B]) <= 6


def test_a_flood_of_more_urgent_events_leaves_the_other_flood_its_turns(
    inbox: Inbox, resources: Resources, refill: Refill
) -> None:
    # The place that is kept beyond a full window is for those with little waiting, not for whoever is soon worked on
    backlog(inbox, A, 150, priority=0)
    backlog(inbox, B, 150, priority=1)
    for _ in range(40):
        take(resources, refill, 40)
        drain(inbox, 2)
    rows = inbox.sql("SELECT source_id, count(*) FROM event WHERE status = 2 GROUP BY 1")
    ended = {int(source): int(count) for source, count in rows}
    assert ended.get(A, 0) >= 20
    # And it still is: a third one goes ahead
    backlog(inbox, C, 1)
    assert by_source(inbox, take(resources, refill, 40))[C] == 1


def test_what_is_not_due_takes_no_turn(inbox: Inbox, resources: Resources, refill: Refill) -> None:
    backlog(inbox, B, 10)
    inbox.sql("UPDATE event SET due_at = now() + interval '1 hour'")
    backlog(inbox, A, 30)
    assert by_source(inbox, take(resources, refill, 20)) == {A: 20}


@pytest.fixture
def explain(inbox: Inbox, settings: Settings) -> Iterator[Callable[[str, dict[str, Any]], list[dict[str, Any]]]]:
    """What returns each node of a plan as it ran, planned as the dispatcher plans: once, while the table is empty."""
    prepared = {name: pipeline._prepared(statement.text) for name, statement in STATEMENTS.items()}
    values = {"lane": 0, "sources": [1], "quotas": [1], "step": 1, "from": [0], "within_s": 60}
    own = make_engine(settings.database_url, pool_size=1)
    with own.connect() as connection:
        cursor = connection.connection.cursor()
        for statement in prepared.values():
            if statement.definition:
                cursor.execute(statement.definition)
                cursor.execute(f"EXPLAIN {statement.call}", values)
        connection.connection.commit()

        def nodes(name: str, values: dict[str, Any]) -> list[dict[str, Any]]:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {prepared[name].call}", values)
            explained = cursor.fetchall()[0][0][0]
            assert "JIT" not in explained
            todo, found = [explained["Plan"]], []
            connection.connection.rollback()
            while todo:
                found.append(todo.pop())
                todo += found[-1].get("Plans", [])
            return found

        yield nodes
    own.dispose()


def vacuum(inbox: Inbox) -> None:
    """Do what autovacuum may do at any moment."""
    with inbox.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE event")


STATEMENTS = {
    "take": due._TAKE,
    "sources": due._SOURCES,
    "next due": due._NEXT_DUE,
    "loads": due._LOADS,
    "expire": deadlines._EXPIRE,
    "promote": deadlines._PROMOTES[0],
    "promote for campaigns": deadlines._PROMOTES[1],
}


def read_of_event(nodes: list[dict[str, Any]]) -> float:
    """Return how many rows of the inbox a plan has looked at, taken or not; PostgreSQL rounds them for each loop."""
    scans = [node for node in nodes if node.get("Relation Name") == "event" and node["Node Type"] != "ModifyTable"]
    assert "Seq Scan" not in {node["Node Type"] for node in scans}
    seen = [(node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in scans]
    return float(sum(seen))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_a_refill_reads_what_it_takes_and_not_what_waits(
    inbox: Inbox, explain: Callable[[str, dict[str, Any]], list[dict[str, Any]]], before: bool, after: bool
) -> None:
    if before:  # after a quiet night
        backlog(inbox, A, 500)
        inbox.sql("UPDATE event SET status = 2, dispatched_at = now()")
        vacuum(inbox)
    backlog(inbox, A, 3_000)
    backlog(inbox, B, 3_000)
    inbox.sql("UPDATE event SET due_at = now() + interval '1 hour' WHERE source_id = :b", b=B)
    if after:
        vacuum(inbox)
    backlog(inbox, C, 5)
    took = explain("take", {"lane": 0, "sources": [A, B, C], "quotas": [10, 10, 10]})
    # Fifteen are taken, by the choice and once more by their ids; at the most one look for each source and priority
    assert read_of_event(took) <= 15 + 3 * 10
    assert read_of_event(explain("sources", {"lane": 0})) <= 2 * 3
    assert read_of_event(explain("next due", {})) <= len(Lane)
    assert read_of_event(explain("loads", {})) <= len(Lane)
    # Nothing expires, nothing belongs to a campaign
    for name in ("expire", "promote", "promote for campaigns"):
        assert read_of_event(explain(name, {"step": 1, "from": [0], "within_s": 60})) == 0


def test_a_source_that_fills_half_a_window_by_itself_closes_the_lane(
    inbox: Inbox, resources: Resources, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many pointers out alone would close it, too.
    monkeypatch.setitem(_OPEN_BELOW, Lane.HIGH, 1_000)
    inbox.accept(*(incoming(entity_id=str(number)) for number in range(150)))
    dispatcher = Dispatcher(resources)
    dispatcher.step()
    assert inbox.sql("SELECT open FROM lane WHERE lane = 0") == [(False,)]
    inbox.sql("UPDATE event SET source_id = 1 + abs(hashtext(entity_id)) % 3")
    dispatcher.step()
    assert inbox.sql("SELECT open FROM lane WHERE lane = 0") == [(True,)]


def test_a_lanes_load_counts_what_each_source_has_out(inbox: Inbox, resources: Resources) -> None:
    inbox.accept(incoming(entity_id="a"), incoming(entity_id="b"))
    with pipelined_transaction(resources.engine) as session:
        found = due.loads(session)[0]
    assert found == LaneLoad(Lane.HIGH, 2, {inbox.source.id: 2}, backlog=False)
