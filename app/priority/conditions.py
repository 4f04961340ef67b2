"""Owns how a policy's patterns, pointers and conditions become closures. They never raise, whatever a body holds."""

import fnmatch
import operator
import re
from collections.abc import Callable
from decimal import Decimal

from app.events.incoming import JsonValue
from app.priority.policy import OF_NUMBERS, Condition, Op

Read = Callable[[JsonValue, JsonValue], JsonValue]
"""(the sender's object, the whole body) -> what is found, or None."""
Holds = Callable[[JsonValue, JsonValue], bool]
Test = Callable[[JsonValue], bool]

_WILD = re.compile(r"[*?\[]")
GLOB_CHARS = 10_000
"""Of a text: a pattern walks all of it, and whoever may only ask for an explanation brings thousands of both."""
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_NUMBER = re.compile(r"-?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})")
_COMPARE: dict[Op, Callable[[float, float], bool]] = {
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.GT: operator.gt,
    Op.GE: operator.ge,
}


def is_literal(pattern: str) -> bool:
    """Tell whether a pattern fits itself only."""
    return _WILD.search(pattern) is None


def matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Return whether a text (in lower case) fits one of the patterns."""
    lowered = [pattern.lower() for pattern in patterns]
    literal = frozenset(pattern for pattern in lowered if is_literal(pattern))
    wild = [fnmatch.translate(pattern) for pattern in lowered if not is_literal(pattern)]
    if not wild:
        return literal.__contains__
    fits = re.compile("|".join(wild)).match
    return lambda text: text in literal or fits(text) is not None


def reader(pointers: tuple[str, ...]) -> Read:
    """Return what finds the first of several pointers: in the sender's object, else in the whole body."""
    # Most pointers have one step, and the rest is missing at the first one mostly: those cost a look-up each.
    paths = [(steps[0], steps[1:]) for steps in map(_steps, pointers)]

    if len(paths) == 1 and not paths[0][1]:
        return _at_the_top(paths[0][0])

    def find(value: JsonValue) -> JsonValue:
        if isinstance(value, dict):
            get = value.get
            for first, rest in paths:
                found = get(first)
                if found is not None:
                    if not rest:
                        return found
                    found = _walk(found, rest)
                    if found is not None:
                        return found
        return None

    def read(data: JsonValue, body: JsonValue) -> JsonValue:
        found = find(data)
        return find(body) if found is None and body is not data else found

    return read


def _at_the_top(key: str) -> Read:
    def read(data: JsonValue, body: JsonValue) -> JsonValue:
        found = data.get(key) if isinstance(data, dict) else None
        if found is None and body is not data and isinstance(body, dict):
            return body.get(key)
        return found

    return read


def _steps(pointer: str) -> tuple[str, ...]:
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.removeprefix("/").split("/"))


def _walk(value: JsonValue, path: tuple[str, ...]) -> JsonValue:
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def number(value: JsonValue) -> float | None:
    """Return a number, or a text that is one (shops write prices so), else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float, Decimal)):
        return float(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return None


def _same(wanted: JsonValue) -> Test:
    if isinstance(wanted, bool):
        return lambda value: value is wanted
    if isinstance(wanted, str):
        return lambda value: value == wanted
    return lambda value: number(value) == wanted


def condition(given: Condition) -> Holds:
    """Return whether a condition holds of an event."""
    read, test = reader(given.pointer), _test(given)
    return lambda data, body: test(read(data, body))


def _test(given: Condition) -> Test:
    op, wanted = given.op, given.value
    if op in OF_NUMBERS:
        return _compared(_COMPARE[op], float(wanted))  # type: ignore[arg-type]  # the policy has checked it
    return _TESTS[op](wanted)


def _in(wanted: JsonValue) -> Test:
    tests = [_same(one) for one in wanted]
    return lambda value: any(test(value) for test in tests)


def _not(make: Callable[[JsonValue], Test]) -> Callable[[JsonValue], Test]:
    def made(wanted: JsonValue) -> Test:
        test = make(wanted)
        return lambda value: not test(value)

    return made


def _exists(_wanted: JsonValue) -> Test:
    return lambda value: value is not None


def _starts_with(wanted: JsonValue) -> Test:
    return lambda value: isinstance(value, str) and value.startswith(wanted)


def _glob(wanted: JsonValue) -> Test:
    fits = matcher((wanted,))
    return lambda value: isinstance(value, str) and fits(value[:GLOB_CHARS].lower())


def _compared(compare: Callable[[float, float], bool], bound: float) -> Test:
    def test(value: JsonValue) -> bool:
        found = number(value)
        return found is not None and compare(found, bound)

    return test


def _contains(wanted: JsonValue) -> Test:
    same = _same(wanted)

    def test(value: JsonValue) -> bool:
        if isinstance(value, list):
            return any(same(item) for item in value)
        return isinstance(value, str) and isinstance(wanted, str) and wanted in value

    return test


_TESTS: dict[Op, Callable[[JsonValue], Test]] = {
    Op.EXISTS: _exists,
    Op.ABSENT: _not(_exists),
    Op.EQ: _same,
    Op.NE: _not(_same),
    Op.IN: _in,
    Op.NOT_IN: _not(_in),
    Op.CONTAINS: _contains,
    Op.STARTS_WITH: _starts_with,
    Op.GLOB: _glob,
}
