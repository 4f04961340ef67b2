"""Somebody new, with `tiercel --help` alone: the lines that help shows are run exactly as they stand there."""

import os
import subprocess
from pathlib import Path

import pytest

from app.models import Lane
from app.resources import Resources
from tasks.process import process as work_on
from tests.support.cli_run import PROGRAM, ok
from tests.support.factories import Inbox, incoming, whsec


@pytest.fixture
def shell(inbox: Inbox, tmp_path: Path) -> "Shell":  # noqa: ARG001  # a clean database
    return Shell(tmp_path)


class Shell:
    """A shell in an empty folder, where ``tiercel`` is the real program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "COLUMNS": "100"}

    def run(self, line: str) -> str:
        """Run a line that must succeed, and return what it printed, its line breaks as spaces."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return " ".join(done.stdout.split())

    def example(self, *ways: tuple[str, str]) -> str:
        """Return the example of the command to which help leads: in each step the word whose line says the wanted."""
        path: list[str] = []
        for word, wanted in ways:
            shown = " ".join(ok(*path, "--help").split())
            commands = shown.partition("Commands: ")[2]
            assert f"{word} " in commands, shown
            assert wanted in commands, shown
            path.append(word)
        return " ".join(ok(*path, "--help").split()).partition("Example: ")[2]


def test_how_to_replay_a_dead_one(shell: Shell, inbox: Inbox) -> None:
    event_id = str(inbox.pointer(incoming("price.updated")).event_id)
    inbox.sql("UPDATE event SET status = 3, outcome = 7, error = 'no such currency', finished_at = now()")
    look = shell.example(("events", "what became of it"), ("dead", "Show what failed, grouped by reason"))
    assert look == "tiercel events dead"
    assert event_id in shell.run(look)
    many = shell.example(("events", "what became of it"), ("replay", "Run ended events again, such as dead ones"))
    assert "1 ended events match" in shell.run(many)
    assert "--yes" in ok("events", "replay", "--help")
    assert "is running" in shell.run(many.replace("--dry-run", "--yes"))
    # Or the one, by the id that the list showed: "With an ID: this one, at once."
    assert "[ID]" in ok("events", "replay", "--help")
    shell.run(f"tiercel events replay {event_id}")
    assert inbox.sql("SELECT status, outcome FROM event") == [(0, None)]


def test_how_to_rotate_a_secret(shell: Shell, inbox: Inbox) -> None:
    line = shell.example(("sources", "Who may send"), ("rotate-secret", "Give a source a new secret"))
    assert line == "tiercel sources rotate-secret shop --secret - --grace 1 < new.txt"
    new = whsec()
    (shell.folder / "new.txt").write_text(new + "\n")
    assert "has a new secret, the one before until" in shell.run(line)
    assert [len(row[0]) for row in inbox.sql("SELECT secrets FROM source")] == [2]
    assert [row[0] for row in inbox.sql("SELECT action FROM audit ORDER BY id DESC LIMIT 1")] == [
        "source.secret-rotated"
    ]


def test_how_to_move_waiting_work_to_high(shell: Shell, inbox: Inbox, resources: Resources) -> None:
    data = {"id": "1", "name": "Black Friday", "campaign": "black-friday"}
    pointer = inbox.pointer(incoming("price.updated", "1", data=data))
    inbox.sql("UPDATE event SET lane = 2, campaign = 'black-friday'")
    line = shell.example(("reprioritise", "Give events that already wait another lane"))
    assert line == "tiercel reprioritise high --campaign black-friday --dry-run"
    assert "1" in shell.run(line)
    assert inbox.event(pointer.event_id).lane is Lane.LOW
    shell.run(line.replace("--dry-run", "--yes"))
    assert inbox.event(pointer.event_id).lane is Lane.HIGH
    work_on(resources, [pointer])
