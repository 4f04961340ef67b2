"""Owns how JSON is read and written: strictly, and to the digit.

Integers beyond 2^53 and decimals keep every digit (Shopify's ids, prices); floats never appear. Text that PostgreSQL
or the canonical form can't hold (lone surrogates), duplicate keys, NaN and deep nesting are refused.
"""

import codecs
import hashlib
import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import orjson

from app.errors import BodyMalformed
from app.events.incoming import JsonObject, JsonValue

MAX_DEPTH = 64
_SAFE_INT_DIGITS = 18
_MAX_NUMBER_CHARS = 400
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


def _integer(text: str) -> int | Decimal:
    # orjson writes integers of at most 64 bit; a longer one is kept as an exact Decimal.
    return int(text) if len(text) <= _SAFE_INT_DIGITS else _decimal(text)


def _decimal(text: str) -> Decimal:
    if len(text) > _MAX_NUMBER_CHARS:
        raise BodyMalformed("a number has too many digits")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise BodyMalformed("a number is out of range") from None
    if abs(value.adjusted()) > _MAX_NUMBER_CHARS:
        raise BodyMalformed("a number is out of range")
    return value


def _constant(text: str) -> NoReturn:
    raise BodyMalformed(f"{text} isn't JSON")


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise BodyMalformed("an object has the same key twice")
    return made


_DECODER = json.JSONDecoder(
    parse_int=_integer, parse_float=_decimal, parse_constant=_constant, object_pairs_hook=_object
)


def check_depth(raw: bytes) -> None:
    """Refuse JSON that ``parse`` would refuse for its depth.

    Raises:
        BodyMalformed: it is nested deeper than MAX_DEPTH.
    """
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_depth(raw.decode("utf-8"))


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    # As far as the text is JSON, this sees the brackets that the decoder would; beyond, the decoder refuses it.
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise BodyMalformed(f"the body is nested deeper than {MAX_DEPTH} levels")


def parse(raw: bytes) -> JsonValue:
    """Parse UTF-8 JSON (RFC 8259) to the digit.

    Raises:
        BodyMalformed: not UTF-8, not JSON, a key twice, NaN or Infinity, a lone surrogate, or deeper than MAX_DEPTH.
    """
    value = _decode(raw)
    if b"\\u" in raw:
        dump(value)
    return value


def _decode(raw: bytes) -> JsonValue:
    try:
        text = raw.decode("utf-8")
        _check_depth(text)
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise BodyMalformed from error


def parse_leniently(raw: bytes) -> tuple[JsonValue, bool]:
    """Parse JSON as ``parse`` does, but skip a byte order mark and replace lone surrogates with U+FFFD.

    RFC 8259 lets a reader ignore the mark (8.1) and leaves lone surrogates to it (8.2); senders that cut a text in
    the middle of an emoji write them. Returns the value, and whether a surrogate was replaced.

    Raises:
        BodyMalformed: see ``parse``; also where two keys of an object differ in nothing but lone surrogates.
    """
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if b"\\u" not in raw:
        return parse(raw), False
    try:
        return parse(raw), False
    except BodyMalformed:
        value = _decode(raw)
    return _replace_surrogates(value), True


def _replace_surrogates(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return _object([(_SURROGATE.sub("\ufffd", key), _replace_surrogates(item)) for key, item in value.items()])
    return [_replace_surrogates(item) for item in value] if isinstance(value, list) else value


def parse_object(raw: bytes) -> JsonObject:
    """Parse a JSON object to the digit.

    Raises:
        BodyMalformed: see ``parse``; also for JSON that isn't an object.
    """
    value = parse(raw)
    if not isinstance(value, dict):
        raise BodyMalformed("the body must be a JSON object")
    return value


def _exact(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError


def dump(value: JsonValue) -> bytes:
    """Write JSON canonically: keys sorted, no white space, every digit kept.

    Raises:
        BodyMalformed: a string holds a lone surrogate.
    """
    try:
        return orjson.dumps(value, default=_exact, option=orjson.OPT_SORT_KEYS)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise BodyMalformed("a string isn't valid Unicode") from error


def digest(value: JsonValue) -> bytes:
    """Return the SHA-256 of the canonical form."""
    return hashlib.sha256(dump(value)).digest()


def with_only(body: JsonObject, pointer: str, number: int) -> JsonObject:
    """Return an object in which the array that a pointer names has only one of its elements; the rest is shared.

    So what is kept of each of many entities is no more than what is said of it.
    """
    copy = dict(body)
    place: Any = copy
    *steps, last = (step.replace("~1", "/").replace("~0", "~") for step in pointer.removeprefix("/").split("/"))
    for step in steps:
        key = int(step) if isinstance(place, list) else step
        place[key] = place[key].copy()
        place = place[key]
    key = int(last) if isinstance(place, list) else last
    place[key] = [place[key][number]]
    return copy


def resolve(value: JsonValue, pointer: str) -> JsonValue:
    """Return what a JSON pointer (RFC 6901) names, or None where nothing is."""
    if not pointer:
        return value
    for step in pointer.removeprefix("/").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and _INDEX.fullmatch(key) and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value
