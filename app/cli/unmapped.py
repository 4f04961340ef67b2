"""``tiercel events unmapped``: what verified senders sent and could not be read, by source, type and reason."""

import click

from app.cli import failed, show
from app.cli.connect import read_settings, session
from app.models import Outcome


@click.command("unmapped", epilog="Example: tiercel events unmapped")
@click.option("--source", help="Of this source.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="How many groups.")
@show.as_json
def unmapped_command(source: str | None, limit: int, as_json: bool) -> None:
    """Show verified deliveries that could not be read, grouped: how many, the newest, and one to look at.

    Teach the source with its option "mapping" (tiercel sources configure), try it with tiercel sources test NAME
    --file BODY, then release them: tiercel events release --outcome unmapped --source NAME --dry-run.
    """
    with session(read_settings()) as opened:
        found = failed.by_reason(opened, limit, source=source, outcome=Outcome.UNMAPPED)
    shown = [
        {name: one[name] for name in ("source", "type", "reason", "count", "newest", "example_id")} for one in found
    ]
    if as_json:
        show.json(shown)
        return
    for one in shown:
        click.echo(show.clean(f"{one['count']} of {one['source']}, type {one['type']}: {one['reason']}"))
        click.echo(f"    newest {show.cell(one['newest'])} UTC; look at one: tiercel events show {one['example_id']}")
    if not shown:
        click.echo("no event is unmapped")
