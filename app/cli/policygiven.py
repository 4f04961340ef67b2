"""Owns how the ``priority`` commands read what they are given: a policy, a note, and who runs the command."""

import getpass
from typing import Any

import click

from app.cli import given
from app.priority import Policy, read_policy

_NOTE_CHARS = 500


def _checked_note(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if "\x00" in value or len(value) > _NOTE_CHARS:
        raise click.BadParameter(f"it is a text of at most {_NOTE_CHARS} characters")
    return value


note = click.option("--note", default="", callback=_checked_note, help="Why, for the history.")


def policy(file: str) -> Policy:
    """Return the policy in a file, or of standard input for ``-``.

    Raises:
        PolicyInvalid: names each field that can't be, and why.
    """
    text: Any = given.raw("-", "FILE") if file == "-" else given.file(file, "FILE")
    return read_policy(given.json(text, "FILE"))


def author() -> str:
    """Return who runs this command."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return "cli"
