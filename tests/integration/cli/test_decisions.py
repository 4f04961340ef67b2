"""What waits for a person: quarantined events that are released, conflicts that are resolved."""

import uuid
from dataclasses import replace
from decimal import Decimal

import pytest

from app.events.incoming import Incoming, Version
from app.inbox.store import Stored, StoreResult
from app.messaging.pointer import Pointer
from app.models import Outcome, Status
from app.resources import Resources
from tasks.process import process
from tests.support.cli_run import from_json, ok, refused
from tests.support.factories import Inbox, incoming

NOW, FAR = 1_790_000_000, 1_990_000_000


def apply_all(resources: Resources, inbox: Inbox) -> None:
    for (event_id,) in inbox.sql("SELECT id FROM event WHERE status = 0 ORDER BY received_at"):
        process(resources, [Pointer(event_id, 0)])


def quarantined(inbox: Inbox) -> uuid.UUID:
    stored = inbox.accept(incoming(version=FAR, data={"n": 1}), received_at=float(NOW))[0]
    assert stored.outcome is Outcome.QUARANTINED
    return stored.id


def test_a_released_event_counts_from_its_arrival(inbox: Inbox, resources: Resources) -> None:
    event_id = quarantined(inbox)
    assert ok("events", "release", str(event_id)) == f"{event_id} waits to be applied\n"
    inbox.accept(incoming(version=NOW + 1, data={"n": 2}), received_at=NOW + 2.0)
    apply_all(resources, inbox)
    assert inbox.data() == '{"n":2}'
    released = inbox.event(event_id)
    assert released.outcome in {Outcome.SUPERSEDED, Outcome.STALE, Outcome.APPLIED}
    assert (released.version, released.version_text) == (Decimal(NOW), None)
    entry = released.history[0]
    assert (entry["step"], entry["version"], entry["trusted"]) == ("released", str(FAR), False)
    assert entry["by"].startswith("user ")


def test_a_trusted_version_stands_until_its_time(inbox: Inbox, resources: Resources) -> None:
    event_id = quarantined(inbox)
    ok("events", "release", str(event_id), "--trust-version")
    apply_all(resources, inbox)
    inbox.accept(incoming(version=NOW + 1, data={"n": 2}), received_at=NOW + 2.0)
    apply_all(resources, inbox)
    assert inbox.data() == '{"n":1}'
    assert inbox.event(event_id).version == FAR


def test_only_what_is_quarantined_can_be_released(inbox: Inbox) -> None:
    (stored,) = inbox.accept(incoming())
    assert "Only a quarantined or an unmapped event" in refused("events", "release", str(stored.id))
    assert "No event of this id" in refused("events", "release", str(uuid.uuid4()))


def test_one_that_cannot_be_released_releases_none(inbox: Inbox) -> None:
    event_id = quarantined(inbox)
    refused("events", "release", str(event_id), str(uuid.uuid4()))
    assert inbox.event(event_id).status is Status.FAILED


def in_conflict(inbox: Inbox, resources: Resources, second: Incoming | None = None) -> tuple[Stored, Incoming]:
    first = incoming(version=NOW, data={"n": 1})
    stored = inbox.accept(first, received_at=float(NOW))[0]
    other = replace(second or incoming(version=NOW, data={"n": 2}), external_id=first.external_id)
    assert inbox.accept(other, received_at=NOW + 1.0)[0].kept is StoreResult.CONFLICT
    apply_all(resources, inbox)
    return stored, other


def test_a_conflict_is_listed_until_the_first_is_chosen(inbox: Inbox, resources: Resources) -> None:
    first, other = in_conflict(inbox, resources)
    (shown,) = from_json("events", "conflicts")
    assert (shown["event_id"], shown["source"], shown["entity"]) == (str(first.id), "shop", "price/sku-1")
    assert (shown["first"]["data"], shown["second"]["data"]) == ({"n": 1}, {"n": 2})
    assert shown["external_id"] == other.external_id
    assert shown["fingerprint"] in ok("events", "conflicts")
    assert ok("events", "resolve", str(first.id), "--take", "first") == f"{first.id} stands\n"
    assert from_json("events", "conflicts") == []
    # Sent once more, the decision stands.
    inbox.accept(other, received_at=NOW + 9.0)
    assert from_json("events", "conflicts") == []
    assert inbox.sql("SELECT resolution, resolved_at IS NOT NULL, resolved_by LIKE 'user %' FROM event_conflict") == [
        (1, True, True)
    ]
    assert "No conflict" in refused("events", "resolve", str(first.id), "--take", "first")


@pytest.mark.parametrize("content", range(4))
def test_the_second_follows_the_first_also_where_they_tie(inbox: Inbox, resources: Resources, content: int) -> None:
    second = incoming(version=NOW, data={"other": content})
    first, _ = in_conflict(inbox, resources, second)
    ok("events", "resolve", str(first.id), "--take", "second")
    apply_all(resources, inbox)
    assert inbox.data() == f'{{"other":{content}}}'
    (taken,) = inbox.sql("SELECT outcome, history FROM event WHERE id <> :id", id=first.id)
    assert taken[0] == Outcome.APPLIED
    assert (taken[1][0]["step"], taken[1][0]["with"]) == ("taken from a conflict", str(first.id))


def test_the_second_undoes_nothing_newer(inbox: Inbox, resources: Resources) -> None:
    first, _ = in_conflict(inbox, resources)
    inbox.accept(incoming(version=NOW + 1, data={"n": 3}), received_at=NOW + 2.0)
    apply_all(resources, inbox)
    ok("events", "resolve", str(first.id), "--take", "second")
    apply_all(resources, inbox)
    assert inbox.data() == '{"n":3}'


@pytest.mark.parametrize("version", [None, Version(Decimal(FAR), str(FAR))])
def test_a_second_without_a_version_or_of_the_future_counts_from_its_arrival(
    inbox: Inbox, resources: Resources, version: Version | None
) -> None:
    first, _ = in_conflict(inbox, resources, incoming(data={"n": 2}, version=None, sequence=Decimal(7)))
    inbox.sql(
        "UPDATE event_conflict SET normal = jsonb_set(normal, '{version}', CAST(:version AS jsonb))",
        version="null" if version is None else f'["{FAR}", "{FAR}", "time"]',
    )
    ok("events", "resolve", str(first.id), "--take", "second")
    apply_all(resources, inbox)
    assert inbox.data() == '{"n":2}'
    entity = inbox.entity()
    assert entity is not None
    assert entity.version == NOW + 1


def test_of_several_the_fingerprint_says_which(inbox: Inbox, resources: Resources) -> None:
    first, other = in_conflict(inbox, resources)
    inbox.accept(replace(other, payload={"data": {"n": 3}}), received_at=NOW + 2.0)
    assert "several wait" in refused("events", "resolve", str(first.id), "--take", "second")
    which = next(one["fingerprint"] for one in from_json("events", "conflicts") if one["second"]["data"] == {"n": 3})
    ok("events", "resolve", str(first.id), "--take", "second", "--fingerprint", which)
    apply_all(resources, inbox)
    assert inbox.data() == '{"n":3}'
    assert len(from_json("events", "conflicts")) == 1


def test_what_cannot_become_an_event_any_more_says_why(inbox: Inbox, resources: Resources) -> None:
    first, _ = in_conflict(inbox, resources)
    take = ("events", "resolve", str(first.id), "--take", "second")
    inbox.sql("UPDATE source SET enabled = false")
    assert "disabled or removed" in refused(*take)
    inbox.sql("UPDATE event_conflict SET normal = NULL")
    assert "a release before" in refused(*take)
    inbox.sql("UPDATE event_conflict SET normal = '{}'")
    inbox.sql("DELETE FROM event")
    assert "purged" in refused(*take)
    (shown,) = from_json("events", "conflicts")
    assert (shown["first"], shown["source"]) == (None, None)
    assert str(first.id) in ok("events", "conflicts")
