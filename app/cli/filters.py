"""Owns the options that choose events, the same for every command that takes them."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import click

from app.cli.given import Moment
from app.inbox.read import EventFilter
from app.models import Lane, Outcome, Status


def _one_of(enum: type[IntEnum]) -> click.Choice[str]:
    return click.Choice([member.name.lower() for member in enum])


_OPTIONS = (
    click.option("--source", help="Of this source."),
    click.option("--lane", type=_one_of(Lane)),
    click.option("--status", type=_one_of(Status)),
    click.option("--outcome", type=_one_of(Outcome)),
    click.option("--type", "type_", metavar="TYPE", help="Like price.updated."),
    click.option("--entity-type", help="Like price."),
    click.option("--entity-id", help="The sender's id of the entity."),
    click.option("--since", type=Moment(), help="Received at or after: a time, or how long ago (30m, 2h, 7d)."),
    click.option("--until", type=Moment(), help="Received before."),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command every filter."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def event_filter(given: dict[str, Any]) -> EventFilter:
    """Return the filter that the options make."""
    lane, status, outcome = given["lane"], given["status"], given["outcome"]
    return EventFilter(
        source=given["source"],
        lane=Lane[lane.upper()] if lane else None,
        status=Status[status.upper()] if status else None,
        outcome=Outcome[outcome.upper()] if outcome else None,
        type=given["type_"],
        entity_type=given["entity_type"],
        entity_id=given["entity_id"],
        since=given["since"],
        until=given["until"],
    )
