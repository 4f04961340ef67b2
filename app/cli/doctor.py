"""Owns ``tiercel doctor``: shows what was checked and says what to do."""

from dataclasses import asdict

import click

from app.cli import checks, show
from app.cli.connect import read_settings
from app.cli.state import SystemState
from app.errors import Permanent


@click.command("doctor", epilog="Example: tiercel doctor --json")
@show.as_json
def command(as_json: bool) -> None:
    """Check everything that Tiercel needs, and say what to do.

    Exit code 1 if something is wrong that Tiercel can't work without.
    """
    try:
        found = list(checks.run(read_settings()))
    except Permanent as error:
        found = list(checks.unusable_settings(error))
    if as_json:
        show.json([{**asdict(check), "state": check.state.value} for check in found])
    else:
        show.table(
            ("check", "state", "found", "what to do"),
            [(check.name, check.state.value, check.detail, check.advice or "") for check in found],
        )
    if any(check.state is SystemState.WRONG for check in found):
        raise click.exceptions.Exit(1)
