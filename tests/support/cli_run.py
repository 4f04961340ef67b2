"""Owns how the tests call ``tiercel``: in this process, or as a person's shell does."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from app.cli.main import tiercel

PROGRAM = Path(sys.executable).parent / "tiercel"


def run(*words: str, stdin: str | bytes | None = None, **env: str) -> Result:
    """Run a command in this process; an error that isn't ours fails the test."""
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        result = CliRunner().invoke(tiercel, words, input=stdin, env=env, prog_name="tiercel")
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def ok(*words: str, stdin: str | bytes | None = None, **env: str) -> str:
    """Run a command that must succeed and return what it printed."""
    result = run(*words, stdin=stdin, **env)
    assert result.exit_code == 0, result.output
    return result.stdout


def from_json(*words: str, **env: str) -> Any:
    """Run a command that prints JSON and nothing else."""
    return json.loads(ok(*words, "--json", **env))


def refused(*words: str, code: int = 1, stdin: str | bytes | None = None, **env: str) -> str:
    """Run a command that must fail, and return its standard error; standard output stays empty."""
    result = run(*words, stdin=stdin, **env)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    if code == 1:
        assert result.stderr.startswith("tiercel: ")
        assert result.stderr.count("\n") == 1
    return result.stderr


def process(*words: str, stdin: Any = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    """Run the real program."""
    return subprocess.run(
        [PROGRAM, *words], stdin=stdin, capture_output=True, text=True, check=False, timeout=60, env=os.environ
    )


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command that goes on until it is stopped, as a person's shell does."""
    with subprocess.Popen([PROGRAM, *words], stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
