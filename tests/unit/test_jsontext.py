import contextlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BodyMalformed
from app.events.canonical_json import MAX_DEPTH, digest, dump, parse, parse_object, resolve

TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize(
    "text",
    [
        "9007199254740993",
        "123456789012345678",
        "1234567890123456789",
        "-98765432109876543210987654321",
        "19.990",
        "0.1000000000000000055511151231257827",
        "1E+30",
        '"\\u0000"',
        '{"a":[1,{"b":null}],"é":"😀"}',
    ],
)
def test_every_digit_and_every_character_survives(text: str) -> None:
    assert dump(parse(text.encode())) == text.encode()


def test_no_float_ever_appears() -> None:
    assert [type(number) for number in parse(b"[1, 1.5, 1e3, 12345678901234567890]")] == [
        int,
        Decimal,
        Decimal,
        Decimal,
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b'"\x00"',
        b"NaN",
        b"[-Infinity]",
        b'{"a":1,"a":1}',
        b'{"b":{"a":1,"\\u0061":2}}',
        b'"\\ud800"',
        b'{"\\udfff":1}',
        b"1" * 401,
        b"1" * 10_000,
        b"1e401",
        b"1e99999999999999999999",
        b"0e999999999",
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * 1_000_000,
    ],
)
def test_what_cannot_be_held_is_refused(raw: bytes) -> None:
    with pytest.raises(BodyMalformed):
        parse(raw)


def test_the_deepest_nesting_is_accepted_and_brackets_in_strings_are_no_nesting() -> None:
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert dump(parse(deepest)) == deepest
    quoted = b'["' + b"[{" * MAX_DEPTH + b'\\"[\\\\",{"a":1}]'
    assert dump(parse(quoted)) == quoted


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"{}"', b"null"])
def test_a_body_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(BodyMalformed, match="object"):
        parse_object(raw)


def test_the_canonical_form_ignores_order_and_space_only() -> None:
    assert digest(parse(b'{ "b":1, "a":[2] }')) == digest(parse(b'{"a":[2],"b":1}'))
    assert digest(parse(b"[1,2]")) != digest(parse(b"[2,1]"))
    assert digest(parse(b"1.0")) != digest(parse(b"1.00"))


def test_what_is_not_json_is_not_written() -> None:
    with pytest.raises(BodyMalformed):
        dump({"a": object()})


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", {"a": [10, {"b/c": 1, "~": 2, "": 3}], "01": 4}),
        ("/a/0", 10),
        ("/a/1/b~1c", 1),
        ("/a/1/~0", 2),
        ("/a/1/", 3),
        ("/01", 4),
        ("/a/2", None),
        ("/a/01", None),
        ("/a/-", None),
        ("/a/-1", None),
        ("/a/\u0660", None),
        ("/a/" + "9" * 5000, None),
        ("/a/0/deeper", None),
        ("/missing", None),
    ],
)
def test_a_pointer_names_one_place_or_none(pointer: str, found: Any) -> None:
    assert resolve({"a": [10, {"b/c": 1, "~": 2, "": 3}], "01": 4}, pointer) == found


@given(JSON)
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    once = parse(json.dumps(value).encode())
    assert parse(dump(once)) == once
    assert dump(parse(dump(once))) == dump(once)


@given(st.binary() | st.text(alphabet='{}[]":,\\u0d8e+-1.').map(str.encode))
def test_arbitrary_bytes_are_parsed_or_refused(raw: bytes) -> None:
    with contextlib.suppress(BodyMalformed):
        dump(parse(raw))
