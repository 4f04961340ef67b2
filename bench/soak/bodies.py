"""Owns the ways in which a body can be wrong. Pure: dice and a JSON object in, bytes out."""

import json
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

Body = dict[str, Any]

_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        2**53 + 1,
        2**64,
        -(2**63) - 1,
        "",
        " ",
        "0",
        "null",
        [],
        {},
        [[]],
        [None],
        {"": 1},
    ),
    *("x" * 513, "x" * 100_000, "\x00", "a\x00b", "\x1b[31m", "\u202e", "\U0001f4b8" * 60, "'; DROP TABLE event; --"),
    *(
        "../../etc/passwd",
        "%s%n",
        "{{7*7}}",
        "a/b/c",
        "\ufeff",
        "\ufffe",
        "ﬃ",
        "0x10",
        "1e5",
        "\uff11\uff12",
        "-0",
        "+1",
        "1_000",
    ),
)
_TIMES = (
    *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "2026-02-30T00:00:00Z", "2026-1-1"),
    *("2026-01-01T24:00:00Z", "2026-01-01T00:00:00+25:00", "2026-01-01T00:00:00-00:00", "2026-01-01t00:00:00z", "now"),
    *("2026-01-01T00:00:00.000000000000000001Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", 0, -1),
    *(253402300799, 253402300800, 1e30, 1794000000.123456789, "1794000000", "2026-01-01T00:00:00." + "9" * 40 + "Z"),
)
_NUMBERS = (
    *(
        "1e400",
        "-1e400",
        "1E+999999999",
        "1e-999999999",
        "9" * 401,
        "9" * 400,
        "9" * 5000,
        "0." + "9" * 399,
        "-0",
        "-0.0",
    ),
    *("NaN", "Infinity", "-Infinity", "01", "1.", ".5", "0x1F", "1e", "+1", "1_000", "9" * 39, "1e38", "1e131072"),
)
_BAD_UTF8 = (b"\xff", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xfe\xff")
_NOT_OBJECTS = (
    b"",
    b" ",
    b"[]",
    b"[{}]",
    b"null",
    b"1",
    b'"text"',
    b"true",
    b"{",
    b"}",
    b"{}{}",
    b"{},",
    b"//",
    b"<a/>",
)


def truncated(dice: Random, body: Body) -> bytes:
    raw = to_json(body)
    return raw[: dice.randrange(len(raw))]


def other_encoding(dice: Random, body: Body) -> bytes:
    return json.dumps({**body, "ü": "é€"}, ensure_ascii=False).encode(
        dice.choice(("utf-16", "utf-16-be", "utf-32", "utf-8-sig", "cp1252", "utf-7", "cp500")), "replace"
    )


def deep(dice: Random, body: Body) -> bytes:
    levels = dice.choice((60, 63, 64, 65, 200, 5_000, 100_000))
    opened, closed = dice.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[", b"")))
    return to_json(body)[:-1] + b',"deep":' + opened * levels + b"1" + closed * levels + b"}"


def huge_number(dice: Random, body: Body) -> bytes:
    return _put(dice, body, dice.choice(_NUMBERS).encode())


def nul(dice: Random, body: Body) -> bytes:
    raw = to_json(body)
    if dice.random() < 0.5:
        return _put(dice, body, dice.choice((b'"\\u0000"', b'"a\\u0000b"', b'{"\\u0000":1}')))
    at = dice.randrange(len(raw))
    return raw[:at] + b"\x00" * dice.randrange(1, 9) + raw[at:]


def same_key_twice(dice: Random, body: Body) -> bytes:
    key = dice.choice(list(body))
    return b"{" + json.dumps(key).encode() + b":" + dice.choice((b"1", b'"x"', b"{}")) + b"," + to_json(body)[1:]


def invalid_utf8(dice: Random, body: Body) -> bytes:
    raw = to_json(body)
    at = dice.randrange(len(raw))
    return raw[:at] + dice.choice(_BAD_UTF8) + raw[at:]


def lone_surrogate(dice: Random, body: Body) -> bytes:
    return _put(dice, body, dice.choice((b'"\\ud800"', b'"\\udfff\\ud800"', b'{"\\ud83d":1}', b'"\\ud83d\\ude00"')))


def wrong_type(dice: Random, body: Body) -> bytes:
    return _put(dice, body, json.dumps(dice.choice(_VALUES), ensure_ascii=dice.random() < 0.5).encode())


def odd_time(dice: Random, body: Body) -> bytes:
    changed = deepcopy(body)
    value = dice.choice(_TIMES)
    for path in _paths(changed):
        if path[-1] in {"timestamp", "updated_at", "created_at", "revision", "time"}:
            _at(changed, path[:-1])[path[-1]] = value
    return to_json(changed)


def missing_field(dice: Random, body: Body) -> bytes:
    changed = deepcopy(body)
    path = dice.choice(_paths(changed))
    del _at(changed, path[:-1])[path[-1]]
    return to_json(changed)


def flipped_bytes(dice: Random, body: Body) -> bytes:
    raw = bytearray(to_json(body))
    for _ in range(dice.randrange(1, 6)):
        raw[dice.randrange(len(raw))] = dice.randrange(256)
    return bytes(raw)


def not_an_object(dice: Random, _body: Body) -> bytes:
    return dice.choice(_NOT_OBJECTS)


def odd_noun(dice: Random, body: Body) -> bytes:
    """A noun and verb that have handlers, over data that isn't theirs."""
    nouns = ("price", "promotion", "campaign", "segment", "content", "currency", "lead", "order", "log", "coupon", "x")
    verbs = ("updated", "created", "deleted", "triggered", "redeemed", "paid", "resynced", "sold_out", "", ".", "a.b")
    changed = deepcopy(body)
    changed["type" if "type" in body else "triggered_by"] = f"{dice.choice(nouns)}.{dice.choice(verbs)}"
    names = ("amount", "currency", "code", "starts_at", "percent_off", "members", "email", "exchange_rate", "name")
    for path in _paths(changed):
        if path[-1] == "id" and len(path) > 1:
            owner = _at(changed, path[:-1])
            owner |= {
                name: dice.choice((*_VALUES, *_TIMES, "1e29", "1e31", "NaN", "EUR")) for name in dice.sample(names, 5)
            }
            break
    return to_json(changed)


def big(dice: Random, body: Body) -> bytes:
    size = dice.choice((60_000, 500_000, 1_000_000, 2_097_152, 2_200_000))
    return to_json({**body, "padding": "x" * size})


BODIES: dict[str, Callable[[Random, Body], bytes]] = {
    "truncated": truncated,
    "other encoding": other_encoding,
    "deep nesting": deep,
    "huge numbers": huge_number,
    "NUL": nul,
    "same key twice": same_key_twice,
    "invalid UTF-8": invalid_utf8,
    "lone surrogate": lone_surrogate,
    "wrong type": wrong_type,
    "odd time": odd_time,
    "missing field": missing_field,
    "flipped bytes": flipped_bytes,
    "not an object": not_an_object,
    "odd noun": odd_noun,
    "big": big,
}


def to_json(body: Body) -> bytes:
    return json.dumps(body).encode()


def _paths(value: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, item in value.items():
        found.append((*before, key))
        if isinstance(item, dict):
            found += _paths(item, (*before, key))
    return found


def _at(body: Body, path: tuple[str, ...]) -> Body:
    for step in path:
        body = body[step]
    return body


def _put(dice: Random, body: Body, raw: bytes) -> bytes:
    """Return the body with raw bytes in place of one of its values."""
    changed = deepcopy(body)
    path = dice.choice(_paths(changed))
    _at(changed, path[:-1])[path[-1]] = "@here@"
    return to_json(changed).replace(b'"@here@"', raw)
