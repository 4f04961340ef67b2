from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FieldInvalid
from app.events.incoming import Clock
from app.events.version_reading import counter, instant

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("value", "order"),
    [
        ("2026-11-06T21:20:00Z", "1794000000"),
        ("2026-11-06t22:20:00+01:00", "1794000000"),
        ("2026-11-06T15:50:00-0530", "1794000000"),
        ("2026-11-06 21:20:00", "1794000000"),
        ("2026-11-06 21:20:00 +00:00", "1794000000"),
        ("2026-11-06T21:20:00.25z", "1794000000.25"),
        ("2026-11-06T21:20:00,000000001Z", "1794000000.000000001"),
        ("1969-12-31T23:59:59.5Z", "-0.5"),
        ("9999-12-31T23:59:59.123456789012345678Z", "253402300799.123456789012345678"),
        (1794000000, "1794000000"),
        (Decimal("1794000000.250"), "1794000000.250"),
        (0, "0"),
    ],
)
def test_an_instant_is_read_to_the_digit(value: Any, order: str) -> None:
    version = instant(value, "/at")
    assert str(version.order) == order
    assert version.text == str(value)
    assert version.clock is Clock.TIME


def test_a_leap_second_is_its_minutes_last() -> None:
    assert instant("2016-12-31T23:59:60Z", "/at").order == instant("2016-12-31T23:59:59Z", "/at").order


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "1794000000",
        "2026-11-06",
        "2026-13-06T21:20:00Z",
        "2026-02-29T21:20:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-06T24:00:00Z",
        "2026-11-06T21:20:61Z",
        "2026-11-06T21:20:99Z",
        "2026-11-06T21:20:00+25:00",
        "2026-11-06T21:20:00+05:99",
        "2026-11-06T21:20:00\nZ",
        "2026-11-06T21:20:00Z\n",
        "٢٠٢٦-11-06T21:20:00Z",
        "2026-11-06T21:20:00.1234567890123456789Z",
        True,
        None,
        [],
        {},
        -1,
        1794000000000,
        Decimal("1E+9"),
        Decimal("1E-20"),
        pytest.param(10**5000, id="five thousand digits"),
    ],
)
def test_anything_else_is_no_instant_and_the_field_is_named(value: Any) -> None:
    with pytest.raises(FieldInvalid, match="/data/updated_at"):
        instant(value, "/data/updated_at")


@given(st.datetimes(timezones=st.timezones()))
def test_an_instant_orders_as_its_datetime_does(moment: datetime) -> None:
    utc = moment.astimezone(UTC) if 1 < moment.year < 9999 else moment.replace(tzinfo=UTC)
    since = utc - datetime(1970, 1, 1, tzinfo=UTC)
    exact = Decimal(since.days * 86_400 + since.seconds) + Decimal(since.microseconds).scaleb(-6)
    assert instant(utc.isoformat(), "/at").order == exact


@pytest.mark.parametrize("value", [7, "7", Decimal("12345678901234567890.5"), "-3", Decimal("7.0")])
def test_a_counter_is_read_to_the_digit(value: Any) -> None:
    version = counter(value, "/version")
    assert (version.order, version.text, version.clock) == (Decimal(value), str(value), Clock.COUNTER)


@pytest.mark.parametrize(
    "value", [True, None, "", "1_0", " 7", "v7", "\u0667", "1e5", Decimal("1E+5"), "9" * 31, [], {}]
)
def test_anything_else_is_no_counter(value: Any) -> None:
    with pytest.raises(FieldInvalid, match="/version"):
        counter(value, "/version")


@given(JSON)
def test_nothing_but_a_field_error_comes_out_whatever_goes_in(value: Any) -> None:
    for read in (instant, counter):
        try:
            assert read(value, "/at").order.is_finite()
        except FieldInvalid as error:
            assert "/at" in str(error)  # noqa: PT017  # either may happen
