"""Owns how typed columns are read out of a sender's object: leniently where a value may be absent, never guessing."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from app.errors import FieldInvalid
from app.events.incoming import JsonObject, JsonValue
from app.events.version_reading import instant
from app.handlers.registry import NotProjectable

Found = TypeVar("Found")
_MAX_DIGITS = 30
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAY = re.compile(r"(\d{4}-\d\d-\d\d)(?: 00:00:00(?:\.0+)?)?", re.ASCII)
_NO_DAY = "0000-00-00"


def first(data: JsonObject, *names: str) -> JsonValue:
    """Return the first of these fields that is there and not null, or None."""
    return next((data[name] for name in names if data.get(name) is not None), None)


def text(data: JsonObject, *names: str) -> str | None:
    """Return a field as text, or None."""
    value = first(data, *names)
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        return None
    return str(value).replace("\x00", "")


def decimal(data: JsonObject, *names: str) -> Decimal | None:
    """Return a field as an exact number, from a number or its text.

    Raises:
        NotProjectable: it is there and isn't one.
    """
    value = first(data, *names)
    if value is None:
        return None
    try:
        if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool):
            number = Decimal(value)
            if number.is_finite() and abs(number.adjusted()) < _MAX_DIGITS:
                return number
    except InvalidOperation:
        pass
    raise NotProjectable(f"{names[0]} isn't a number")


def integer(data: JsonObject, *names: str) -> int | None:
    """Return a field as a count that fits the column, or None."""
    value = first(data, *names)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31 else None


def flag(data: JsonObject, *names: str) -> bool | None:
    """Return a field that is true or false, or None."""
    value = first(data, *names)
    return value if isinstance(value, bool) else None


def time(data: JsonObject, *names: str) -> datetime | None:
    """Return a field as an aware UTC time; a bare date is its first moment.

    Raises:
        NotProjectable: it is there and isn't one.
    """
    value = first(data, *names)
    if value is None:
        return None
    if isinstance(value, str) and _DATE.fullmatch(value):
        value += "T00:00:00Z"
    try:
        return datetime.fromtimestamp(float(instant(value, names[0]).order), UTC)
    except (FieldInvalid, ValueError, OverflowError):
        raise NotProjectable(f"{names[0]} isn't a time") from None


def day(data: JsonObject, name: str, *, ends: bool = False) -> datetime | None:
    """Return a day as Magento writes it, in UTC: its first moment, or its last second where it ``ends`` something.

    Empty, null, ``{}`` and ``0000-00-00`` are no day. One may also be PHP's ``{"date": …}``, or have a time of 0:00.

    Raises:
        NotProjectable: it is there and is neither a day nor a time.
    """
    value = data.get(name)
    if isinstance(value, dict):
        value = value.get("date")
    if not value:
        return None
    found = _DAY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return time({name: value}, name)
    if found[1] == _NO_DAY:
        return None
    return time({name: found[1] + ("T23:59:59Z" if ends else "T00:00:00Z")}, name)


def optional(notes: list[str], read: Callable[..., Found | None], *args: Any, **options: Any) -> Found | None:
    """Return what a reader of this module finds; what it can't read is left out, with a note."""
    try:
        return read(*args, **options)
    except NotProjectable as error:
        notes.append(f"{error}: it was left out")
        return None


def currency(data: JsonObject, *names: str) -> str | None:
    """Return an ISO 4217 code in capitals, or None.

    Raises:
        NotProjectable: it is there and isn't three letters.
    """
    value = text(data, *names)
    if value is None:
        return None
    if not (len(value) == 3 and value.isascii() and value.isalpha()):  # noqa: PLR2004  # ISO 4217
        raise NotProjectable(f"{names[0]} isn't a currency code")
    return value.upper()


def money(data: JsonObject, *names: str) -> tuple[Decimal | None, str | None]:
    """Return an amount and its currency from ``{"amount", "currency"}`` or from two fields side by side.

    Raises:
        NotProjectable: the amount isn't a number or the currency isn't a code.
    """
    value = first(data, *names)
    if isinstance(value, Mapping):
        inner = dict(value)
        return decimal(inner, "amount", "value"), currency(inner, "currency", "currency_code")
    return decimal(data, *names), currency(data, "currency", "currency_code")
