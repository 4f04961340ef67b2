"""Owns what an event's own data says about when it counts: from when, until when, and for which campaign. Pure.

The fields stand in the sender's object: ``effective_at``, ``expires_at``, and ``campaign_id`` or ``campaign``. Other
names, as ``valid_from`` and ``valid_to``, describe the thing itself and are left to whoever reads its row.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.errors import FieldInvalid
from app.events.canonical_json import resolve
from app.events.incoming import Incoming, JsonObject, JsonValue, Operation
from app.events.version_reading import instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_ID = 500
"""Characters; a longer id of a campaign is no id."""
_OWN_SCHEDULE = frozenset({"campaign", "promotion", "discount", "coupon"})
"""What ends by itself: there ``expires_at`` says when the thing ends, which its row must learn however late."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an event counts."""

    effective_at: datetime | None = None
    expires_at: datetime | None = None
    campaign: str | None = None
    notes: tuple[str, ...] = ()
    """What was said of it and could not be understood."""


def schedule_of(incoming: Incoming) -> Schedule:
    """Return what an event's data says about when it counts.

    A field that can't be read as a time may describe the thing itself, so it is noted and schedules nothing. A delete
    never expires: not to delete is never safe. Nor does what a catalogue or a rule says is a fact: it has happened.
    """
    own = incoming.entity_id if incoming.entity_type == "campaign" else None
    data = resolve(incoming.payload, incoming.data_pointer)
    if not isinstance(data, dict):
        return Schedule(campaign=own)
    notes: list[str] = []
    effective_at, expires_at = _time(data, "effective_at", notes), None
    expires = incoming.operation is not Operation.DELETE and not incoming.fact
    if expires and incoming.entity_type not in _OWN_SCHEDULE:
        expires_at = _time(data, "expires_at", notes)
    if effective_at and expires_at and expires_at <= effective_at:
        notes.append("expires_at isn't after effective_at")
        effective_at = expires_at = None
    campaign = own or _id(data.get("campaign_id")) or _id(data.get("campaign"))
    return Schedule(effective_at, expires_at, campaign, tuple(notes))


def _time(data: JsonObject, name: str, notes: list[str]) -> datetime | None:
    value = data.get(name)
    if value is None or value == "":
        return None
    try:
        return _EPOCH + timedelta(microseconds=int(instant(value, name).order * 1_000_000))
    except FieldInvalid as error:
        notes.append(str(error))
    except OverflowError:
        notes.append(f"{name} isn't a time that can be waited for")
    return None


def _id(value: JsonValue) -> str | None:
    if isinstance(value, dict):
        value = value.get("id")
    if value is None or isinstance(value, (bool, dict, list)):
        return None
    told = str(value).replace("\x00", "")
    return told if 0 < len(told) <= _MOST_ID else None
