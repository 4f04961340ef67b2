"""Owns how commands show things: tables for people, JSON for programs, nothing that can steer a terminal."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click
import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from app.events.canonical_json import parse

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
_PIPED_WIDTH = 1_000


def json(value: Any) -> None:
    """Print JSON."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table: as wide as the terminal, or as its content where standard output is none."""
    shown = Table(*columns, box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for column in shown.columns:
        column.overflow = "fold"
    # What a table begins with is what people copy: it stays whole, and the rest makes room or is cut.
    shown.columns[0].no_wrap = True
    shown.columns[0].overflow = "ignore"
    for column in shown.columns[1:]:
        column.min_width = max(len(word) for word in str(column.header).split() or [""])
    for row in rows:
        shown.add_row(*(Text(cell(value)) for value in row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False).print(shown)


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[], None]]:
    """Show how far long work is, on a terminal's standard error; nothing anywhere else."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def cell(value: Any) -> str:
    """Return a value as one line of text."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return clean(str(value))


def clean(text: str) -> str:
    """Return text with everything replaced that isn't shown as itself: what senders sent could steer a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def fragment(content: Any) -> str:
    """Return a piece of JSON as one line."""
    return clean(orjson.dumps(content).decode())


def payload(text: str) -> str:
    """Return a stored payload, indented, with every digit kept."""
    shown = orjson.dumps(parse(text.encode()), default=_digits, option=orjson.OPT_INDENT_2).decode()
    return "\n".join(clean(line) for line in shown.split("\n"))


def _digits(value: Decimal) -> orjson.Fragment:
    return orjson.Fragment(str(value))
