"""Owns ``tiercel keys``: keys for the HTTP API. A key is printed once, when it is made."""

import click

from app import keys, views
from app.cli import show
from app.cli.connect import read_settings, session
from app.models import Scope
from app.vault import Vault

_LARGEST_ID = 2**31 - 1


@click.group("keys")
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
def create(name: str, scope: str) -> None:
    """Make a key and print it, and only it; it can't be shown again."""
    if not name.strip():
        raise click.BadParameter("it is empty", param_hint="--name")
    settings = read_settings()
    with session(settings) as opened:
        key = keys.create(opened, Vault(settings), name, Scope[scope.upper()])
    click.echo(key)


@group.command("list", epilog="Example: tiercel keys list")
@show.as_json
def list_(as_json: bool) -> None:
    """List the keys, the newest first, never the keys themselves."""
    with session(read_settings()) as opened:
        shown = [views.key(key) for key in keys.listed(opened)]
    if as_json:
        show.json(shown)
    else:
        columns = ("id", "name", "scope", "created (UTC)", "last used (UTC)", "revoked (UTC)")
        show.table(columns, [tuple(one.values()) for one in shown])


@group.command("revoke", epilog="Example: tiercel keys revoke 3")
@click.argument("key_id", metavar="ID", type=click.IntRange(1, _LARGEST_ID))
def revoke(key_id: int) -> None:
    """Revoke a key at once, everywhere; ID is from "keys list"."""
    with session(read_settings()) as opened:
        since = keys.revoke(opened, key_id)
    click.echo(f"key {key_id} is revoked since {show.cell(since)} UTC")
