"""Owns the ``tiercel`` command and the one form its errors have."""

import sys

import click

from app.cli import db, dispatcher
from app.errors import TiercelError
from config.logs import configure_logs
from config.settings import SettingsInvalid, load_settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def tiercel() -> None:
    """Campaign events in, the urgent ones first, every one applied as its sender last meant it."""
    configure_logs(load_settings())


tiercel.add_command(db.group)
tiercel.add_command(dispatcher.command)


def main() -> None:
    """Run the command; an error of ours is one line on standard error and exit code 1."""
    try:
        tiercel.main()
    except (TiercelError, SettingsInvalid) as error:
        click.echo(f"tiercel: {error}", err=True)
        sys.exit(1)
