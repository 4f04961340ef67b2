"""The simulated day chooses from its backlog as PostgreSQL does: else it would be a day of some other system."""

import json
from random import Random

from app.db.pipeline import pipelined_transaction
from app.dispatcher.refill import Refill
from app.inbox import due
from app.inbox.due import LaneLoad
from app.models import Lane
from app.resources import Resources
from bench.simulate.backlog import MemoryBacklog, event_id
from bench.simulate.simulate import Job
from bench.simulate.trace import Arrival
from tests.support.factories import Inbox, incoming

_SOURCES = (1, 2, 3, 4)
_PUT = """
UPDATE event SET source_id = r.source_id, priority = r.priority, due_at = to_timestamp(r.due)
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, source_id int, priority int, due float)
WHERE event.id = r.id
"""


def let_wait(inbox: Inbox, dice: Random, backlog: MemoryBacklog, names: dict[object, int], count: int) -> None:
    """Let the same events wait in PostgreSQL and in the model."""
    inbox.sql("UPDATE lane SET open = false")
    first = len(names)
    stored = inbox.accept(*(incoming(entity_id=str(first + number)) for number in range(count)))
    rows = []
    for number, event in enumerate(stored, start=first):
        source, priority = dice.choices(_SOURCES, (8, 4, 2, 1))[0], dice.choice((2, 5, 8, 9))
        names[event.id] = number
        # A time of its own for each, since those of one time come in no order.
        came = float(dice.randrange(10**6) * 1_000 + number)
        rows.append({"id": str(event.id), "source_id": source, "priority": priority, "due": came})
        arrival = Arrival(came, str(source), "price.updated", 0.01, 1.0, came, came + 1, False, False, {})  # noqa: FBT003
        backlog.add(Job(number, arrival, source, Lane.HIGH, priority))
    inbox.sql(_PUT, rows=json.dumps(rows))


def test_the_days_backlog_picks_what_sql_picks(inbox: Inbox, resources: Resources) -> None:
    dice, names = Random(3), dict[object, int]()
    ours, sql, backlog = Refill(Lane.HIGH), Refill(Lane.HIGH), MemoryBacklog(Lane.HIGH)
    picked = 0
    for _ in range(25):
        let_wait(inbox, dice, backlog, names, dice.choice((0, 3, 20, 60)))
        window = dice.choice((10, 30, 60))
        with pipelined_transaction(resources.engine) as session:
            load: LaneLoad = due.loads(session)[0]
            found = sql.take(session, load, window)
        modelled = ours.select(backlog, load, window)
        for dispatch in modelled:
            del backlog.jobs[dispatch.pointer.event_id]
        assert [(names[one.pointer.event_id], one.priority) for one in found] == [
            (one.pointer.event_id.int, one.priority) for one in modelled
        ]
        picked += len(found)
        # Some of what is out ends
        inbox.sql(
            "UPDATE event SET status = 2, outcome = 1 WHERE id IN (SELECT id FROM event WHERE status = 0 "
            "AND dispatched_at IS NOT NULL ORDER BY priority DESC, due_at LIMIT :count)",
            count=dice.randrange(window),
        )
    assert picked > 200


def test_what_is_removed_waits_no_longer() -> None:
    backlog = MemoryBacklog(Lane.LOW)
    came = Arrival(1.0, "1", "log.recorded", 0.01, 1.0, 1.0, 2.0, False, False, {})  # noqa: FBT003
    one, other = Job(1, came, 1, Lane.LOW, 5), Job(2, came, 1, Lane.LOW, 5)
    backlog.add(one)
    backlog.add(other)
    backlog.remove(one)
    assert backlog.sources() == {1: 1}
    assert [dispatch.pointer.event_id for dispatch in backlog.take({1: 5})[1]] == [event_id(other)]
    assert backlog.sources() == {}
