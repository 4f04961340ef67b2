"""Owns ``tiercel events``: what came in, and what became of it."""

import uuid
from typing import Any

import click

from app.cli import failed, filters, show
from app.cli.conflicts import conflicts_command, resolve_command
from app.cli.connect import read_settings, session
from app.cli.groups import Group
from app.cli.release import release_command
from app.cli.replays import replay_command, replays_command
from app.cli.unmapped import unmapped_command
from app.inbox import read
from app.reporting import serializers

_LIMIT = click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="How many.")


@click.group("events", cls=Group)
def group() -> None:
    """What came in, and what became of it."""


_COMMANDS = (
    *(replay_command, replays_command, release_command, unmapped_command, conflicts_command, resolve_command),
)
for _command in _COMMANDS:
    group.add_command(_command)


@group.command("list", epilog="Example: tiercel events list --lane high --status failed --since 2h")
@filters.options
@_LIMIT
@show.as_json
def list_(*, limit: int, as_json: bool, **chosen: Any) -> None:
    """List events, the newest first."""
    wanted = filters.event_filter(chosen)
    with session(read_settings()) as opened:
        shown = [
            serializers.event(event, name) for event, name in read.events(opened, wanted, after=None, limit=limit)
        ]
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
        headers = read.headers(opened, event)
    shown = serializers.event_in_full(event, name, headers)
    if as_json:
        show.json(shown)
        return
    facts = ("id", "source", "external_id", "type", "entity_type", "entity_id", "operation", "version", "due_at")
    rows = [(fact.replace("_", " "), shown[fact]) for fact in facts]
    if shown["lane"] is not None:
        rows += [("lane", f"{shown['lane']} (priority {shown['priority']}): {'; '.join(map(str, shown['reasons']))}")]
    rows += [("status", _state(shown)), ("error", shown["error"])]
    show.table(("event", ""), rows)
    show.table(("at (UTC)", "step", ""), [_step(step) for step in shown["timeline"]], title="timeline")
    if headers:
        show.table(("header", ""), sorted(headers.items()), title="headers that were kept")
    click.echo(show.payload(event.payload))


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
        columns = ("source", "type", "outcome", "reason", "where", "trace", "count", "newest (UTC)", "example")
        show.table(columns, [tuple(one.values()) for one in shown])


def _state(shown: dict[str, Any]) -> str:
    return f"{shown['status']}: {shown['outcome']}" if shown["outcome"] else shown["status"]


def _step(step: dict[str, Any]) -> tuple[Any, ...]:
    more = ", ".join(f"{name} {value}" for name, value in step.items() if name not in {"at", "step"})
    return step["at"], step["step"], more
