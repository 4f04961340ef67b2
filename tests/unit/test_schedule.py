"""What an event's own data says about when it counts."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.events.incoming import JsonValue
from app.inbox.schedule import Schedule, schedule_of
from tests.support.factories import incoming

AT = datetime(2026, 11, 27, 6, tzinfo=UTC)
LATER = datetime(2026, 11, 27, 7, tzinfo=UTC)


def told(type: str = "price.updated", **data: JsonValue) -> Schedule:  # noqa: A002  # the field's own name
    return schedule_of(incoming(type, data=data))


@pytest.mark.parametrize("value", ["2026-11-27T06:00:00Z", "2026-11-27T07:00:00+01:00", 1795759200])
def test_times_are_rfc_3339_or_unix_seconds(value: JsonValue) -> None:
    assert told(effective_at=value) == Schedule(effective_at=AT)


def test_fractions_are_kept_to_the_microsecond() -> None:
    assert told(effective_at=Decimal("1795759200.1234567")).effective_at == AT.replace(microsecond=123456)


@pytest.mark.parametrize("data", [{}, {"effective_at": None, "expires_at": ""}])
def test_without_times_an_event_counts_at_once_and_for_good(data: dict[str, Any]) -> None:
    assert told(**data) == Schedule()


@pytest.mark.parametrize("value", ["tomorrow", -1, True, {}, [], "2026-11-27", 10**20, "9999-12-31T23:59:59-12:00"])
@pytest.mark.parametrize("name", ["effective_at", "expires_at"])
def test_a_time_that_cannot_be_read_schedules_nothing_and_is_noted(name: str, value: JsonValue) -> None:
    found = told(**{name: value})
    assert (found.effective_at, found.expires_at) == (None, None)
    assert [note.split()[0] for note in found.notes] == [name]


def test_a_fact_never_expires() -> None:
    past = {"expires_at": "2020-01-01T00:00:00Z"}
    assert schedule_of(incoming("checkout.session.expired", data=past, fact=True)).expires_at is None
    assert schedule_of(incoming("checkout.session.updated", data=past)).expires_at is not None


def test_an_event_that_would_never_count_counts_at_once_and_is_noted() -> None:
    never = told(effective_at=AT.isoformat(), expires_at=AT.isoformat())
    assert never == Schedule(notes=("expires_at isn't after effective_at",))
    both = Schedule(effective_at=AT, expires_at=LATER)
    assert told(effective_at=AT.isoformat(), expires_at=LATER.isoformat()) == both


@pytest.mark.parametrize("event_type", ["price.deleted", "coupon.updated", "promotion.created", "campaign.updated"])
def test_a_delete_and_what_has_its_own_end_never_expire(event_type: str) -> None:
    found = told(event_type, effective_at=AT.isoformat(), expires_at="2020-01-01T00:00:00Z")
    assert (found.effective_at, found.expires_at) == (AT, None)


@pytest.mark.parametrize(
    ("data", "campaign"),
    [
        ({"campaign_id": "summer", "campaign": "Summer!"}, "summer"),
        ({"campaign": "summer"}, "summer"),
        ({"campaign": {"id": 7, "name": "Summer"}}, "7"),
        ({"campaign_id": 9007199254740993}, "9007199254740993"),
        ({"campaign_id": "a\x00b"}, "ab"),
        ({"campaign_id": "\x00"}, None),
        ({"campaign": {"name": "Summer"}}, None),
        ({"campaign": ["a"]}, None),
        ({"campaign": True}, None),
        ({"campaign": "x" * 501}, None),
    ],
)
def test_a_campaign_is_named_by_its_id(data: dict[str, Any], campaign: str | None) -> None:
    assert told(**data).campaign == campaign


def test_a_campaigns_own_events_belong_to_it() -> None:
    event = incoming("campaign.updated", "summer", data={"campaign_id": "other"})
    assert schedule_of(event).campaign == "summer"
    assert schedule_of(incoming("campaign.updated", "summer", payload={"data": []})).campaign == "summer"
