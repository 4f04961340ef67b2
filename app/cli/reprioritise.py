"""Owns ``tiercel reprioritise``: what already waits gets another lane."""

import getpass
import sys
import uuid
from dataclasses import asdict
from datetime import datetime

import click

from app.cli import given, show
from app.cli.connect import opened, read_settings
from app.cli.given import Moment
from app.cli.policygiven import author
from app.db.engine import transaction
from app.inbox.reprioritise import Move, Selection, matching, reprioritise_all
from app.models import Lane
from app.security import audit
from app.security.audit import Action

_LANES = click.Choice([lane.name.lower() for lane in Lane])


@click.command("reprioritise", epilog="Example: tiercel reprioritise high --campaign black-friday --dry-run")
@click.argument("lane", type=_LANES)
@click.option("--id", "ids", type=click.UUID, multiple=True, help="This event; may be given several times.")
@click.option("--source", help="Of this source.")
@click.option("--type", "type_", metavar="TYPE", help="Like price.updated.")
@click.option("--entity-type", help="Like price.")
@click.option("--entity-id", help="The sender's id of the entity.")
@click.option("--campaign", help="The sender's id of the campaign.")
@click.option("--from", "from_", type=_LANES, help="In this lane.")
@click.option("--since", type=Moment(), help="Received at or after: a time, or how long ago (30m, 2h, 7d).")
@click.option("--until", type=Moment(), help="Received before.")
@click.option(
    "--priority", type=click.IntRange(0, 9), help="Inside the lane; 9 goes first. Default: each keeps its own."
)
@click.option("--reason", help="Kept on each event's timeline.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@show.as_json
def command(  # noqa: PLR0913  # a filter each
    *,
    lane: str,
    ids: tuple[uuid.UUID, ...],
    source: str | None,
    type_: str | None,
    entity_type: str | None,
    entity_id: str | None,
    campaign: str | None,
    from_: str | None,
    since: datetime | None,
    until: datetime | None,
    priority: int | None,
    reason: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Give events that already wait another lane.

    Counts first, and asks. What is running or has ended is left as it is.
    """
    wanted = Selection(
        ids=ids or None,
        source=source,
        type=type_,
        entity_type=entity_type,
        entity_id=entity_id,
        campaign=campaign,
        lane=Lane[from_.upper()] if from_ else None,
        since=since,
        until=until,
    )
    wanted.check()
    move = Move(Lane[lane.upper()], by=_who(), why=reason, priority=priority)
    with opened(read_settings()) as engine:
        with transaction(engine) as session:
            found = matching(session, wanted, move)
        count = sum(found.values())
        if dry_run:
            _say(found, count, lane, as_json=as_json)
            return
        if not yes:
            _ask(found, count, lane)
        with transaction(engine) as session:
            said = {name: str(value) for name, value in asdict(wanted).items() if value is not None and name != "ids"}
            detail = {**said, "ids": len(ids)} if ids else said
            audit.record(
                session, Action.EVENTS_MOVED, "events", actor=author(), lane=lane, reason=reason, filter=detail
            )
        moved = 0
        for moved in reprioritise_all(lambda: transaction(engine), wanted, move, sys.maxsize):
            if sys.stderr.isatty():
                click.echo(f"\r{moved:,} of {count:,}", nl=False, err=True)
        if sys.stderr.isatty():
            click.echo(err=True)
    if as_json:
        show.json({"dry_run": False, "count": moved})
    else:
        click.echo(f"{moved:,} events wait in {lane} now")


def _who() -> str:
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):
        return "the command line"  # a user without a name, as in a container


def _say(found: dict[Lane, int], count: int, lane: str, *, as_json: bool) -> None:
    if as_json:
        show.json({"dry_run": True, "count": count, "from": {each.name.lower(): found.get(each, 0) for each in Lane}})
    else:
        click.echo(f"{count:,} events would move to {lane}{_origin(found)}")


def _ask(found: dict[Lane, int], count: int, lane: str) -> None:
    question = f"{count:,} events would move to {lane}{_origin(found)}"
    if not given.is_terminal():
        raise click.UsageError(f"{question}; say --yes to do so without being asked")
    click.confirm(f"{question}. Move them?", abort=True)


def _origin(found: dict[Lane, int]) -> str:
    return f" ({', '.join(f'{count:,} from {lane.name.lower()}' for lane, count in found.items())})" if found else ""
