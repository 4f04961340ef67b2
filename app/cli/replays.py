"""Owns ``tiercel events replay`` and ``replays``: running ended events again, one by its id or many by a filter."""

import uuid
from typing import Any

import click

from app.cli import filters, given, show
from app.cli.connect import read_settings, session
from app.cli.whoami import whoami
from app.inbox import replay, replays
from app.inbox.read import EventFilter
from app.inbox.replays import MOST_PER_S, PER_S
from app.reporting import serializers
from app.security import audit
from app.security.audit import Action

_EXAMPLE = "Example: tiercel events replay --outcome dead --type price.updated --since 2h --dry-run"
_COLUMNS = ("id", "state", "replayed", "of", "per second", "filter", "by", "asked (UTC)", "finished (UTC)")


@click.command("replay", epilog=_EXAMPLE)
@click.argument("event_id", metavar="[ID]", type=click.UUID, required=False)
@filters.options
@click.option("--dry-run", is_flag=True, help="Only say what would become of them.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--per-second", type=click.IntRange(1, MOST_PER_S), default=PER_S, show_default=True, help="How fast.")
@click.option("--replay-id", type=click.UUID, help="Under one id nothing is replayed twice.")
@show.as_json
def replay_command(  # noqa: PLR0913  # an option each
    *,
    event_id: uuid.UUID | None,
    dry_run: bool,
    yes: bool,
    per_second: int,
    replay_id: uuid.UUID | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Run ended events again, such as dead ones, under their own ids, through the same version gate.

    With an ID: this one, at once. With filters: every one that matches, in the low lane and behind live work.
    """
    filtered = any(value is not None for value in chosen.values())
    if (event_id is None) != filtered or (event_id and (dry_run or replay_id)):
        raise click.UsageError("say either the ID of one event, or which ones with filters")
    if event_id is not None:
        with session(read_settings()) as opened:
            replay.replay(opened, event_id)
            audit.record(opened, Action.EVENT_REPLAYED, f"event:{event_id}")
        if as_json:
            show.json({"id": str(event_id), "status": "pending"})
        else:
            click.echo(f"{event_id} waits again")
        return
    _many(filters.event_filter(chosen), dry_run, yes, per_second, replay_id, as_json=as_json)


def _many(  # noqa: PLR0913  # as above
    wanted: EventFilter, dry_run: bool, yes: bool, per_second: int, replay_id: uuid.UUID | None, *, as_json: bool
) -> None:
    settings = read_settings()
    with session(settings) as opened:
        would = serializers.forecast(replays.forecast(opened, wanted))
    if dry_run and as_json:
        show.json(would)
        return
    if not as_json:
        fates = ", ".join(f"{count} {fate}" for fate, count in would["would"].items())
        click.echo(f"{would['count']} ended events match; as things stand: {fates}")
    if dry_run or not would["count"]:
        return
    if not yes:
        if not given.is_terminal():
            raise click.UsageError("say --yes to replay them without being asked, or --dry-run to only count")
        click.confirm("Replay them?", abort=True)
    with session(settings) as opened:
        asked = replays.ask(opened, replay_id or uuid.uuid4(), wanted, per_s=per_second, by=whoami())
        shown = serializers.replay(asked)
        audit.record(opened, Action.EVENTS_REPLAYED, f"replay:{shown['id']}", filter=shown["filter"])
    if as_json:
        show.json(shown)
    else:
        click.echo(f"replay {shown['id']} is {shown['state']}; see tiercel events replays")


@click.command("replays", epilog="Example: tiercel events replays")
@click.option("--stop", "stop_id", type=click.UUID, metavar="ID", help="Release nothing more of this one.")
@show.as_json
def replays_command(*, stop_id: uuid.UUID | None, as_json: bool) -> None:
    """Show the replays of history and how far each has come, the newest first."""
    with session(read_settings()) as opened:
        if stop_id is not None:
            replays.stop(opened, stop_id)
            audit.record(opened, Action.REPLAY_STOPPED, f"replay:{stop_id}")
        shown = [serializers.replay(one) for one in replays.listed(opened, 100)]
    if as_json:
        show.json(shown)
        return
    rows = [
        (
            one["id"],
            one["state"],
            one["replayed"],
            one["count"],
            one["per_s"],
            ", ".join(f"{name} {value}" for name, value in one["filter"].items()),
            one["requested_by"],
            one["created_at"],
            one["finished_at"],
        )
        for one in shown
    ]
    show.table(_COLUMNS, rows)
