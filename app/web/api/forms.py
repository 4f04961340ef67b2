"""Owns how the API reads its query parameters: an unknown one is an error, never ignored."""

import base64
import binascii
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field
from werkzeug.datastructures import MultiDict

from app.errors import FieldInvalid
from app.inbox.read import EventFilter
from app.models import Lane, Outcome, Status
from app.reporting.kpis import Window
from app.web.openapi import schemas

_LIMIT, _MOST = 100, 1_000
_KNOWN = {
    "source",
    "lane",
    "status",
    "outcome",
    "type",
    "entity_type",
    "entity_id",
    "since",
    "until",
    "limit",
    "cursor",
}
_OF_WINDOW = {"since", "until", "source", "campaign", "limit"}
_DAY = timedelta(days=1)
_FIRST = datetime.min.replace(tzinfo=UTC)
Choice = TypeVar("Choice", bound=IntEnum)


_Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]


class EventFilterForm(BaseModel):
    """A filter of events, for the OpenAPI document; ``event_filter`` reads it."""

    source: _Text | None = None
    lane: Literal["high", "medium", "low"] | None = None
    status: Literal["pending", "processing", "completed", "failed"] | None = None
    outcome: schemas.OutcomeName | None = None
    type: _Text | None = None
    entity_type: _Text | None = None
    entity_id: _Text | None = None
    since: datetime | None = None
    until: datetime | None = None


class EventParameters(EventFilterForm):
    """The parameters of a list of events, for the OpenAPI document; ``event_query`` reads them."""

    limit: Annotated[int, Field(ge=1, le=_MOST)] = _LIMIT
    cursor: _Text | None = None


class KpiParameters(BaseModel):
    """The parameters of the figures over a window, for the OpenAPI document; ``window`` reads them."""

    source: _Text | None = None
    campaign: _Text | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: Annotated[int, Field(ge=1, le=_MOST)] = _LIMIT


@dataclass(frozen=True, slots=True)
class EventQuery:
    """What a list of events was asked for."""

    wanted: EventFilter
    limit: int
    after: tuple[datetime, uuid.UUID] | None


def event_query(args: MultiDict[str, str]) -> EventQuery:
    """Return the query in a list's parameters.

    Raises:
        FieldInvalid: one is unknown, given twice, or can't be read.
    """
    _check_names(args, _KNOWN)
    return EventQuery(_filter(args), _limit(args), _after(args))


def event_filter(given: Mapping[str, str]) -> EventFilter:
    """Return the filter in a body, with the same names as a list's parameters.

    Raises:
        FieldInvalid: one is unknown or can't be read.
    """
    unknown = sorted(set(given) - (_KNOWN - {"limit", "cursor"}))
    if unknown:
        raise FieldInvalid(f"no such filter: {', '.join(unknown)}")
    return _filter(given)


def _filter(args: Mapping[str, str]) -> EventFilter:
    if any("\x00" in value for value in args.values()):
        raise FieldInvalid("a parameter holds a NUL character")
    return EventFilter(
        source=args.get("source"),
        lane=choice(Lane, args, "lane"),
        status=choice(Status, args, "status"),
        outcome=choice(Outcome, args, "outcome"),
        type=args.get("type"),
        entity_type=args.get("entity_type"),
        entity_id=args.get("entity_id"),
        since=_time(args, "since"),
        until=_time(args, "until"),
    )


def window(args: MultiDict[str, str]) -> tuple[Window, int]:
    """Return a window of arrivals (the last day where none is given), and how many campaigns at most.

    Raises:
        FieldInvalid: a parameter is unknown, given twice, or can't be read, or the window is empty.
    """
    _check_names(args, _OF_WINDOW)
    until = _time(args, "until") or datetime.now(UTC)
    # Before the first day of the calendar there is no day.
    since = _time(args, "since") or max(until, _FIRST + _DAY) - _DAY
    if since >= until:
        raise FieldInvalid("since isn't before until")
    return Window(since, until, args.get("source"), args.get("campaign")), _limit(args)


def choice(enum: type[Choice], args: Mapping[str, str], name: str) -> Choice | None:
    """Return the member of ``enum`` that a parameter names in lower case, or None where it isn't given.

    Raises:
        FieldInvalid: there is no such member.
    """
    given = args.get(name)
    if given is None:
        return None
    try:
        return enum[given.upper()]
    except KeyError:
        names = ", ".join(member.name.lower() for member in enum)
        raise FieldInvalid(f"{name} is one of {names}") from None


def _check_names(args: MultiDict[str, str], known: set[str]) -> None:
    unknown = sorted(set(args) - known)
    if unknown:
        raise FieldInvalid(f"no such parameter: {', '.join(unknown)}")
    twice = sorted(name for name in args if len(args.getlist(name)) > 1)
    if twice:
        raise FieldInvalid(f"given twice: {', '.join(twice)}")
    if any("\x00" in value for value in args.values()):
        raise FieldInvalid("a parameter holds a NUL character")


def cursor(received_at: datetime, event_id: uuid.UUID) -> str:
    """Return the opaque position behind an event."""
    return base64.urlsafe_b64encode(f"{received_at.isoformat()} {event_id}".encode()).decode().rstrip("=")


def _after(args: Mapping[str, str]) -> tuple[datetime, uuid.UUID] | None:
    given = args.get("cursor")
    if given is None:
        return None
    try:
        at, event_id = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)).decode().split(" ")
        return _aware(datetime.fromisoformat(at)), uuid.UUID(event_id)
    except (ValueError, binascii.Error, OverflowError):
        raise FieldInvalid("cursor isn't one that this API gave") from None


def _limit(args: Mapping[str, str]) -> int:
    given = args.get("limit", str(_LIMIT))
    if not (given.isascii() and given.isdigit() and len(given) <= len(str(_MOST)) and 1 <= int(given) <= _MOST):
        raise FieldInvalid(f"limit is a number from 1 to {_MOST}")
    return int(given)


def _time(args: Mapping[str, str], name: str) -> datetime | None:
    given = args.get(name)
    if given is None:
        return None
    try:
        # A "+" that wasn't percent-encoded arrives as a space.
        return _aware(datetime.fromisoformat(given.replace(" ", "+") if "T" in given else given))
    except (ValueError, OverflowError):
        raise FieldInvalid(f"{name} isn't an RFC 3339 time") from None


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
