"""Logs: one JSON object a line where nobody reads along, words where somebody does; no secret in a repr."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.sources.configured import Secret
from config.logs import configure_logs
from config.redaction import redacted
from config.settings import Settings


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_lines_carry_their_action(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings(log_format="json"))
    structlog.get_logger("test").warning("a thing happened", action="thing", event_id="1")
    logging.getLogger("a library").warning("said %s", "so")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["action"], ours["event"], ours["level"]) == ("thing", "a thing happened", "warning")
    assert theirs["event"] == "said so"


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings(log_format="text"))
    structlog.get_logger("test").warning("a thing happened", action="thing")
    assert "a thing happened" in capsys.readouterr().err


def test_a_secret_is_never_shown() -> None:
    assert "hunter2" not in repr(Secret("hunter2", None))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("can't reach amqp://tiercel:hunter2@rabbit:5672//", "can't reach amqp://tiercel:[redacted]@rabbit:5672//"),
        ("sent Authorization Bearer abcdefgh.ijkl", "sent Authorization Bearer [redacted]"),
        ("signed with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "signed with [redacted]"),
        ("connection failed: password=hunter2 host=db", "connection failed: password=[redacted] host=db"),
        ("no such customer jane.doe+shop@example.co.uk", "no such customer [email]"),
        ("call +49 (30) 1234567 first", "call [phone] first"),
        ("DETAIL: Failing row contains (1, Jane, (x)).", "DETAIL: Failing row contains ([redacted])."),
        ("DETAIL: Key (email)=(jane@example.com) exists", "DETAIL: Key (email)=([redacted]) exists"),
        ("event 0199a5b2-7c1d-7e44-9a53-111111111111 retried at 2026-11-20T12:00:00+00:00 after 12345678 ms",) * 2,
    ],
)
def test_a_text_is_shown_without_secrets_and_people(said: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings(log_format="json"))
    structlog.get_logger("test").warning(said, action="thing", error=said, nested={"deep": [said]})
    logging.getLogger("a library").warning("%s", said)
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["error"], ours["nested"], theirs["event"]) == (shown, shown, {"deep": [shown]}, shown)


def test_a_field_is_hidden_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings(log_format="json"))
    structlog.get_logger("test").warning(
        "x",
        action="thing",
        api_key="k",
        headers={"Authorization": "a", "host": "h"},
        payload={"a": 1},
        email="e",
        lane="HIGH",
    )
    line = json.loads(capsys.readouterr().err)
    assert (line["api_key"], line["payload"], line["email"]) == ("[redacted]",) * 3
    assert line["headers"] == {"Authorization": "[redacted]", "host": "h"}
    assert (line["lane"], line["action"], line["level"]) == ("HIGH", "thing", "warning")


def test_a_trace_is_redacted_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings(log_format="json"))
    try:
        raise ValueError("jane@example.com")
    except ValueError as error:
        structlog.get_logger("test").error("x", action="thing", exc_info=error, cause=error)
    line = json.loads(capsys.readouterr().err)
    assert "ValueError: [email]" in line["exception"]
    assert line["cause"] == "ValueError('[email]')"


def test_what_is_nested_too_deep_is_hidden() -> None:
    value: object = "jane@example.com"
    for _ in range(4):
        value = {"a": [value]}
    assert "jane" not in str(redacted(value))
    assert redacted(7) == 7
