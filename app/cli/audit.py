"""Owns ``tiercel audit``: who did what to the system."""

from datetime import datetime

import click
import orjson

from app.cli import show
from app.cli.connect import read_settings, session
from app.cli.given import Moment
from app.reporting import serializers
from app.security import audit
from app.security.audit import Action, AuditFilter


@click.command("audit", epilog="Example: tiercel audit --subject source:shop --since 7d")
@click.option("--actor", help="Who: key:NAME#ID, or cli:USER.")
@click.option("--action", type=click.Choice([action.value for action in Action]), help="What was done.")
@click.option("--subject", help="To what: source:NAME, key:ID, policy:VERSION, event:ID.")
@click.option("--since", type=Moment(), help="At or after: a time, or how long ago (30m, 2h, 7d).")
@click.option("--until", type=Moment(), help="Before.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="How many.")
@show.as_json
def command(  # noqa: PLR0913  # a filter each
    *,
    actor: str | None,
    action: str | None,
    subject: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Who did what to the system, and when.

    The newest first. The log can only grow: no command and no key changes or deletes an entry.
    """
    with session(read_settings()) as opened:
        found = audit.listed(opened, AuditFilter(actor, action, subject, since, until), after=None, limit=limit)
        shown = [serializers.audit(row) for row in found]
    if as_json:
        show.json(shown)
        return
    columns = ("at (UTC)", "by", "action", "to", "with")
    rows = [
        (one["at"], one["actor"], one["action"], one["subject"], orjson.dumps(one["detail"]).decode()) for one in shown
    ]
    show.table(columns, rows)
