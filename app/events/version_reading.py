"""Owns how a sender's timestamp or counter becomes a comparable ``Version``, at the sender's full resolution."""

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal

from app.errors import FieldInvalid
from app.events.incoming import Clock, JsonValue, Version

_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):([0-5]\d|60)(?:[.,](\d{1,18}))?"
    r" ?(?:([Zz])|([+-])(\d\d):?([0-5]\d))?",
    re.ASCII,
)
_COUNTER = re.compile(r"-?\d{1,30}(?:\.\d{1,18})?", re.ASCII)
# Twelve digits of seconds and eighteen of their fraction: more than the default context's 28.
_EXACT = Context(prec=40)
_YEAR_9999 = 253_402_300_799
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(value: JsonValue, field: str) -> Version:
    """Return a version from an RFC 3339 timestamp (naive means UTC, as Adobe Commerce sends) or Unix seconds.

    Raises:
        FieldInvalid: it is neither.
    """
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        if not 0 <= value <= _YEAR_9999 or not _COUNTER.fullmatch(str(value)):
            raise FieldInvalid(f"{field} isn't a Unix time in seconds")
        return Version(Decimal(value), str(value))
    found = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise FieldInvalid(f"{field} isn't an RFC 3339 timestamp")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:
        zone = UTC
        if found[9]:
            offset = timedelta(hours=int(found[10]), minutes=int(found[11]))
            zone = timezone(-offset if found[9] == "-" else offset)
        # A leap second (:60) counts as the last second of its minute; PostgreSQL and Python have none.
        whole = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone) - _EPOCH
    except (ValueError, OverflowError):
        raise FieldInvalid(f"{field} isn't an RFC 3339 timestamp") from None
    seconds = Decimal(whole.days * 86_400 + whole.seconds)
    return Version(_EXACT.add(seconds, Decimal("0." + (found[7] or ""))), found[0])


def counter(value: JsonValue, field: str) -> Version:
    """Return a version from a sender's own counter: a number, or its digits in a string.

    Raises:
        FieldInvalid: it isn't one.
    """
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)) or not _COUNTER.fullmatch(str(value)):
        raise FieldInvalid(f"{field} isn't a version number")
    return Version(Decimal(value), str(value), Clock.COUNTER)
