"""Owns ``tiercel sources skew``."""

from dataclasses import asdict

import click

from app.cli import show
from app.cli.connect import read_settings, session
from app.reporting import clock_skew


@click.command("skew", epilog="Example: tiercel sources skew")
@show.as_json
def command(as_json: bool) -> None:
    """Show how far ahead of its arrival each source's version is, over the newest events.

    Mostly a little below 0: what its delivery takes. Above 0 its clock is ahead of ours; beyond VERSION_SKEW_S its
    events are quarantined. Far below 0 it is behind, or delivers late.
    """
    with session(read_settings()) as opened:
        found = [asdict(one) for one in clock_skew.by_source(opened)]
    if as_json:
        show.json(found)
    else:
        columns = ("source", "measured", "least (s)", "median (s)", "most (s)", "quarantined")
        show.table(columns, [tuple(one.values()) for one in found])
