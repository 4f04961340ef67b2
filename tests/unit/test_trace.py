"""A traceback's fingerprint: the same for the same failure, another for another."""

import json
from collections.abc import Callable

from tasks.error_fingerprint import Trace, trace_of


def raised(call: Callable[[], object]) -> Trace:
    try:
        call()
    except Exception as error:  # noqa: BLE001  # whatever it is
        return trace_of(error)
    raise AssertionError("nothing was raised")


def number(text: str) -> int:
    return int(text)


def test_the_same_way_is_the_same_failure_whatever_the_values() -> None:
    first, second = raised(lambda: number("x")), raised(lambda: number("y"))
    assert first.fingerprint == second.fingerprint
    assert first.where.startswith("tests/unit/test_trace.py:")
    assert first.where.endswith(" in number")


def test_another_way_or_another_error_is_another_failure() -> None:
    def other() -> int:
        return number("x")

    assert raised(other).fingerprint != raised(lambda: number("x")).fingerprint
    assert raised(lambda: number(None)).fingerprint != raised(lambda: number("x")).fingerprint  # type: ignore[arg-type]


def test_the_innermost_line_of_our_own_is_named() -> None:
    trace = raised(lambda: json.loads("{"))
    assert trace.where.startswith("tests/unit/test_trace.py:")


def test_an_error_that_was_never_raised_came_from_nowhere() -> None:
    assert trace_of(ValueError("made only")).where == ""
