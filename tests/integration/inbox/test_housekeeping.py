"""Purging: what is past its retention goes, and only that."""

from dataclasses import replace

from app.inbox.store import StoreResult
from app.models import Status
from app.resources import Resources
from tasks.housekeeping import purge
from tasks.process import process
from tests.support.factories import Inbox, incoming


def counts(resources: Resources) -> dict[str, int]:
    """Purge, and return what was."""
    return {name: count for name, count in purge(resources).items() if count}


def test_completed_events_go_and_their_keys_stay_until_theirs_is_over(inbox: Inbox, resources: Resources) -> None:
    old, new, dead, waiting = (incoming(entity_id=name) for name in ("old", "new", "dead", "waiting"))
    ids = [stored.id for stored in inbox.accept(old, new, dead, waiting)]
    inbox.sql("UPDATE event SET status = 2, outcome = 1, finished_at = now() WHERE entity_id IN ('old', 'new')")
    inbox.sql("UPDATE event SET status = 3, outcome = 7, finished_at = now() WHERE entity_id = 'dead'")
    inbox.sql("UPDATE event SET finished_at = now() - interval '31 days' WHERE entity_id IN ('old', 'dead')")
    assert counts(resources) == {"events": 1}
    assert {row[0] for row in inbox.sql("SELECT id FROM event")} == set(ids[1:])
    (again,) = inbox.accept(old)
    assert (again.kept, again.id, again.status) == (StoreResult.DUPLICATE, ids[0], Status.COMPLETED)
    inbox.sql("UPDATE event_key SET seen_at = now() - interval '91 days'")
    assert counts(resources) == {"keys": 1}
    assert inbox.accept(old)[0].kept is StoreResult.NEW


def test_many_rows_go_in_batches(inbox: Inbox, resources: Resources) -> None:
    for _ in range(11):
        inbox.accept(*(incoming(entity_id=str(number)) for number in range(100)))
    inbox.sql("UPDATE event SET status = 2, outcome = 1, finished_at = now() - interval '31 days'")
    assert purge(resources)["events"] == 1_100


def test_failed_events_and_conflicts_go_by_a_rule_of_their_own(inbox: Inbox, resources: Resources) -> None:
    for entity_id, days in (("young", 44), ("old", 46)):
        event = incoming(entity_id=entity_id)
        (stored,) = inbox.accept(event)
        inbox.accept(replace(event, payload={"data": {"n": days}}))
        inbox.sql(
            "UPDATE event SET status = 3, outcome = 7, finished_at = now() - make_interval(days => :days) "
            "WHERE id = :id",
            id=stored.id,
            days=days,
        )
        inbox.sql(
            "UPDATE event_conflict SET received_at = now() - make_interval(days => :days) WHERE event_id = :id",
            id=stored.id,
            days=days,
        )
    assert counts(resources) == {"failed": 1, "conflicts": 1}
    assert inbox.sql("SELECT entity_id FROM event") == [("young",)]


def test_a_tombstone_goes_when_nothing_could_undo_its_deletion(inbox: Inbox, resources: Resources) -> None:
    for entity_id in ("kept", "gone", "alive"):
        for event in (incoming(entity_id=entity_id, version=1), incoming("price.deleted", entity_id, 2)):
            pointer = inbox.pointer(event)
            if (entity_id, event.type) != ("alive", "price.deleted"):
                process(resources, [pointer])
    inbox.sql("UPDATE entity SET applied_at = now() - interval '61 days'")
    # Given one whose older save could still be replayed
    inbox.sql("DELETE FROM event WHERE entity_id <> 'kept'")
    assert counts(resources) == {"tombstones": 1}
    assert inbox.sql("SELECT entity_id FROM entity ORDER BY 1") == [("alive",), ("kept",)]
    inbox.sql("UPDATE entity SET applied_at = now() - interval '59 days'")
    inbox.sql("DELETE FROM event")
    assert counts(resources) == {}
