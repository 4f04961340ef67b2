"""Owns ``tiercel db``: the schema."""

from pathlib import Path

import click
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text

from app.cli.connect import opened, read_settings
from app.cli.groups import Group
from app.db.engine import database_errors
from app.errors import Permanent

_MIGRATIONS = Path(__file__).parents[2] / "migrations"
_LOCK = 0x6D696772617465  # "migrate"


def alembic_config(connection: Connection) -> Config:
    """Return alembic's configuration over an open connection."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


@click.group("db", cls=Group)
def group() -> None:
    """The schema of the database."""


@group.command(epilog="Example: tiercel db upgrade")
@click.argument("revision", default="head")
def upgrade(revision: str) -> None:
    """Bring the database's schema to REVISION (default: the newest). Safe to run twice, and beside itself."""
    with (
        opened(read_settings(), statement_timeout_ms=0) as engine,
        database_errors(),
        engine.begin() as connection,
    ):
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        try:
            command.upgrade(alembic_config(connection), revision)
        except CommandError as error:
            raise Permanent(str(error)) from error
    click.echo("the schema is up to date")
