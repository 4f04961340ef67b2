"""Owns how commands read what they are given: ``-`` for standard input, ``@FILE``, JSON, secrets and times."""

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from app.errors import BodyMalformed
from app.events.canonical_json import parse

_AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Moment(click.ParamType[datetime]):
    """A time: RFC 3339 (naive is UTC), or how long ago, as in 30m, 2h or 7d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time, aware, in UTC."""
        if ago := _AGO.fullmatch(value):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        try:
            at = datetime.fromisoformat(value)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} isn't a time like 2026-11-27T06:00:00Z, 30m, 2h or 7d", param, ctx)


class Coming(click.ParamType[datetime]):
    """A time to come: RFC 3339 (naive is UTC), or in how long, as in 12h or 90d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time, aware, in UTC."""
        now = datetime.now(UTC)
        if ahead := _AGO.fullmatch(value):
            return now + timedelta(**{_UNITS[ahead[2]]: int(ahead[1])})
        try:
            at = datetime.fromisoformat(value)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} isn't a time like 2027-01-01T00:00:00Z, 12h or 90d", param, ctx)
        if at <= now:
            self.fail(f"{value} has passed", param, ctx)
        return at


def one_standard_input(*values: str | None) -> None:
    """Refuse a command line that would read standard input twice."""
    if sum(value == "-" for value in values) > 1:
        raise click.UsageError("only one option can read standard input")


def secret(value: str) -> str:
    """Return a secret; ``-`` reads it from standard input, without the line's end."""
    if value != "-":
        return value
    try:
        return raw("-", "--secret").decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise click.BadParameter("it isn't UTF-8", param_hint="--secret") from error


def raw(value: str, option: str) -> bytes:
    """Return bytes as given, of ``@FILE``, or of standard input for ``-``."""
    if value == "-":
        return sys.stdin.buffer.read()
    return file(value[1:], option) if value.startswith("@") else value.encode()


def file(path: str, option: str) -> bytes:
    """Return what a file holds."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path}: {getattr(error, 'strerror', error)}", param_hint=option) from error


def json(text: bytes, option: str) -> Any:
    """Return JSON to the digit."""
    try:
        return parse(text)
    except BodyMalformed as error:
        raise click.BadParameter(f"it isn't JSON: {error.__cause__ or error}", param_hint=option) from error


def config(value: str | None) -> dict[str, Any]:
    """Return a source's options: the JSON object in a file, or of standard input for ``-``."""
    if value is None:
        return {}
    found = json(raw("-", "--config") if value == "-" else file(value, "--config"), "--config")
    if not isinstance(found, dict):
        raise click.BadParameter("it must be a JSON object", param_hint="--config")
    return found


def is_terminal() -> bool:
    """Tell whether a person can be asked."""
    return sys.stdin.isatty()
