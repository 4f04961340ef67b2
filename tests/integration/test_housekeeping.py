"""Purging: what is past its retention goes, and only that."""

from app.inbox.store import Kept
from app.models import Status
from app.resources import Resources
from tasks.housekeeping import purge
from tests.factories import Inbox, incoming


def test_completed_events_go_and_their_keys_stay_until_theirs_is_over(inbox: Inbox, resources: Resources) -> None:
    old, new, dead, waiting = (incoming(entity_id=name) for name in ("old", "new", "dead", "waiting"))
    ids = [stored.id for stored in inbox.accept(old, new, dead, waiting)]
    inbox.sql("UPDATE event SET status = 2, outcome = 1, finished_at = now() WHERE entity_id IN ('old', 'new')")
    inbox.sql("UPDATE event SET status = 3, outcome = 7, finished_at = now() WHERE entity_id = 'dead'")
    inbox.sql("UPDATE event SET finished_at = now() - interval '31 days' WHERE entity_id IN ('old', 'dead')")
    assert purge(resources) == {"events": 1, "keys": 0}
    assert {row[0] for row in inbox.sql("SELECT id FROM event")} == set(ids[1:])
    (again,) = inbox.accept(old)
    assert (again.kept, again.id, again.status) == (Kept.DUPLICATE, ids[0], Status.COMPLETED)
    inbox.sql("UPDATE event_key SET seen_at = now() - interval '91 days'")
    assert purge(resources) == {"events": 0, "keys": 1}
    assert inbox.accept(old)[0].kept is Kept.NEW


def test_many_rows_go_in_batches(inbox: Inbox, resources: Resources) -> None:
    for _ in range(11):
        inbox.accept(*(incoming(entity_id=str(number)) for number in range(100)))
    inbox.sql("UPDATE event SET status = 2, outcome = 1, finished_at = now() - interval '31 days'")
    assert purge(resources)["events"] == 1_100
