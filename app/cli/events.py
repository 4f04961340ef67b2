"""Owns ``tiercel events``: what came in, what became of it, and running it again."""

import uuid
from datetime import datetime
from enum import IntEnum
from typing import Any

import click

from app import views
from app.cli import failed, show
from app.cli.connect import read_settings, session
from app.cli.given import Moment
from app.inbox import read, replay
from app.inbox.read import EventFilter
from app.models import Lane, Outcome, Status

_LIMIT = click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="How many.")


def _one_of(enum: type[IntEnum]) -> click.Choice[str]:
    return click.Choice([member.name.lower() for member in enum])


@click.group("events")
def group() -> None:
    """What came in, and what became of it."""


@group.command("list", epilog="Example: tiercel events list --lane high --status failed --since 2h")
@click.option("--source", help="Of this source.")
@click.option("--lane", type=_one_of(Lane))
@click.option("--status", type=_one_of(Status))
@click.option("--outcome", type=_one_of(Outcome))
@click.option("--type", "type_", metavar="TYPE", help="Like price.updated.")
@click.option("--entity-type", help="Like price.")
@click.option("--entity-id", help="The sender's id of the entity.")
@click.option("--since", type=Moment(), help="Received at or after: a time, or how long ago (30m, 2h, 7d).")
@click.option("--until", type=Moment(), help="Received before.")
@_LIMIT
@show.as_json
def list_(  # noqa: PLR0913  # a filter each
    *,
    source: str | None,
    lane: str | None,
    status: str | None,
    outcome: str | None,
    type_: str | None,
    entity_type: str | None,
    entity_id: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List events, the newest first."""
    wanted = EventFilter(
        source=source,
        lane=Lane[lane.upper()] if lane else None,
        status=Status[status.upper()] if status else None,
        outcome=Outcome[outcome.upper()] if outcome else None,
        type=type_,
        entity_type=entity_type,
        entity_id=entity_id,
        since=since,
        until=until,
    )
    with session(read_settings()) as opened:
        shown = [views.event(event, name) for event, name in read.events(opened, wanted, after=None, limit=limit)]
    if as_json:
        show.json(shown)
        return
    columns = ("id", "received (UTC)", "source", "type", "entity", "lane", "status", "attempts", "error")
    rows = [
        (
            one["id"],
            one["received_at"],
            one["source"],
            one["type"],
            f"{one['entity_type']}/{one['entity_id']}",
            one["lane"],
            _state(one),
            one["attempts"],
            one["error"],
        )
        for one in shown
    ]
    show.table(columns, rows)


@group.command("show", epilog="Example: tiercel events show 0199f0c1-7d1e-7a90-b6b7-0f2f6a3a9f11")
@click.argument("event_id", metavar="ID", type=click.UUID)
@show.as_json
def show_(event_id: uuid.UUID, as_json: bool) -> None:
    """Show one event: its timeline, why it has its lane, and its payload."""
    with session(read_settings()) as opened:
        event, name = read.event(opened, event_id)
    shown = views.event_in_full(event, name)
    if as_json:
        show.json(shown)
        return
    facts = ("id", "source", "external_id", "type", "entity_type", "entity_id", "operation", "version", "due_at")
    rows = [(fact.replace("_", " "), shown[fact]) for fact in facts]
    rows += [("lane", f"{shown['lane']} (priority {shown['priority']}): {'; '.join(map(str, shown['reasons']))}")]
    rows += [("status", _state(shown)), ("error", shown["error"])]
    show.table(("event", ""), rows)
    show.table(("at (UTC)", "step", ""), [_step(step) for step in shown["timeline"]], title="timeline")
    click.echo(show.payload(event.payload))


@group.command("replay", epilog="Example: tiercel events replay 0199f0c1-7d1e-7a90-b6b7-0f2f6a3a9f11")
@click.argument("event_id", metavar="ID", type=click.UUID)
def replay_(event_id: uuid.UUID) -> None:
    """Run an ended event again, under its own id, through the same version gate."""
    with session(read_settings()) as opened:
        replay.replay(opened, event_id)
    click.echo(f"{event_id} waits again")


@group.command("dead", epilog="Example: tiercel events dead")
@_LIMIT
@show.as_json
def dead(limit: int, as_json: bool) -> None:
    """Show what failed, grouped by reason: how many, the newest, and one to look at."""
    with session(read_settings()) as opened:
        shown = failed.by_reason(opened, limit)
    if as_json:
        show.json(shown)
    else:
        columns = ("source", "type", "outcome", "reason", "count", "newest (UTC)", "example")
        show.table(columns, [tuple(one.values()) for one in shown])


def _state(shown: dict[str, Any]) -> str:
    return f"{shown['status']}: {shown['outcome']}" if shown["outcome"] else shown["status"]


def _step(step: dict[str, Any]) -> tuple[Any, ...]:
    more = ", ".join(f"{name} {value}" for name, value in step.items() if name not in {"at", "step"})
    return step["at"], step["step"], more
