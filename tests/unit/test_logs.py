"""Logs: one JSON object a line where nobody reads along, words where somebody does; no secret in a repr."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.endpoints import Secret
from config.logs import configure_logs
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
