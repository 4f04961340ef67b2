"""Owns ``tiercel keys``: keys for the HTTP API. A key is printed once, when it is made."""

from datetime import datetime
from typing import Any

import click
from sqlalchemy.orm import Session

from app.cli import given, show
from app.cli.connect import read_settings, session
from app.cli.groups import Group
from app.models import ApiKey, Scope
from app.reporting import serializers
from app.security import api_keys
from app.security.vault import Vault

_LARGEST_ID = 2**31 - 1
_ID = click.argument("key_id", metavar="ID", type=click.IntRange(1, _LARGEST_ID))


@click.group("keys", cls=Group)
def group() -> None:
    """Keys for the HTTP API under /v1."""


@group.command("create", epilog="Example: KEY=$(tiercel keys create --name ci --scope read)")
@click.option("--name", required=True, help="Whose key it is, to know it again in the list.")
@click.option(
    "--scope",
    required=True,
    type=click.Choice([scope.name.lower() for scope in reversed(Scope)]),
    help="What it may do; admin includes write, write includes read.",
)
@click.option("--source", "sources", multiple=True, help="Only what is of this source; may be given several times.")
@click.option("--expires", type=given.Coming(), help="When it ends: a time, or in how long (12h, 90d).")
@show.as_json
def create(name: str, scope: str, sources: tuple[str, ...], expires: datetime | None, as_json: bool) -> None:
    """Make a key and print it, and only it; it can't be shown again."""
    if not name.strip():
        raise click.BadParameter("it is empty", param_hint="--name")
    settings = read_settings()
    with session(settings) as opened:
        limited = list(sources) or None
        made = api_keys.make(opened, Vault(settings), name, Scope[scope.upper()], expires_at=expires, sources=limited)
        shown = _shown(opened, made)
    _print(shown, as_json)


@group.command("list", epilog="Example: tiercel keys list")
@show.as_json
def list_(as_json: bool) -> None:
    """List the keys, the newest first, never the keys themselves."""
    with session(read_settings()) as opened:
        found = api_keys.listed(opened)
        names = api_keys.source_names(opened, found)
        shown = [serializers.key(key, names) for key in found]
    if as_json:
        show.json(shown)
    else:
        columns = ("id", "name", "scope", "sources", "created (UTC)", "last used (UTC)", "ends (UTC)", "revoked (UTC)")
        rows = [{**one, "sources": ", ".join(one["sources"] or ["all"])} for one in shown]
        show.table(columns, [tuple(one.values()) for one in rows])


@group.command("rotate", epilog="Example: KEY=$(tiercel keys rotate 3)")
@_ID
@show.as_json
def rotate(key_id: int, as_json: bool) -> None:
    """Make a key that may do what another may, print it, and revoke that one at once."""
    settings = read_settings()
    with session(settings) as opened:
        shown = _shown(opened, api_keys.rotate(opened, Vault(settings), key_id))
    _print(shown, as_json)


@group.command("revoke", epilog="Example: tiercel keys revoke 3")
@_ID
@show.as_json
def revoke(key_id: int, as_json: bool) -> None:
    """Revoke a key at once, everywhere; ID is from "keys list"."""
    with session(read_settings()) as opened:
        since = api_keys.revoke(opened, key_id)
    if as_json:
        show.json({"id": key_id, "revoked_at": since})
    else:
        click.echo(f"key {key_id} is revoked since {show.cell(since)} UTC")


def _shown(opened: Session, made: tuple[str, ApiKey]) -> dict[str, Any]:
    key, row = made
    return {**serializers.key(row, api_keys.source_names(opened, [row])), "key": key}


def _print(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show.json(shown)
    else:
        click.echo(shown["key"])
