"""``tiercel events conflicts|resolve``: what waits for a person's decision."""

import uuid

import click

from app.cli import show
from app.cli.connect import read_settings, session
from app.cli.whoami import whoami
from app.inbox import conflicts
from app.reporting import serializers
from app.security import audit
from app.security.audit import Action

_SHOWN_CHARS = 60


@click.command("conflicts", epilog="Example: tiercel events conflicts")
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="How many.")
@show.as_json
def conflicts_command(limit: int, as_json: bool) -> None:
    """Show what came under a known key with another content, and waits for tiercel events resolve."""
    with session(read_settings()) as opened:
        shown = [serializers.conflict(*found) for found in conflicts.open_conflicts(opened, limit)]
    if as_json:
        show.json(shown)
        return
    columns = ("event (the first)", "fingerprint", "source", "key", "entity", "received (UTC)", "first", "second")
    rows = [
        (
            one["event_id"],
            one["fingerprint"],
            one["source"],
            one["external_id"],
            one["entity"],
            one["received_at"],
            _short(one["first"]),
            _short(one["second"]),
        )
        for one in shown
    ]
    show.table(columns, rows)


@click.command("resolve", epilog="Example: tiercel events resolve 0199f0c1-7d1e-7a90-b6b7-0f2f6a3a9f11 --take second")
@click.argument("event_id", metavar="ID", type=click.UUID)
@click.option("--take", type=click.Choice(["first", "second"]), required=True, help="Which content was meant.")
@click.option("--fingerprint", default="", help="Which second one, where there are several.")
@show.as_json
def resolve_command(event_id: uuid.UUID, take: str, fingerprint: str, as_json: bool) -> None:
    """Decide a conflict: the first one stands, or the second becomes an event of its own."""
    settings = read_settings()
    with session(settings) as opened:
        audit.record(opened, Action.CONFLICT_RESOLVED, f"event:{event_id}", take=take)
        if take == "first":
            conflicts.keep_first(opened, event_id, fingerprint, by=whoami())
            if as_json:
                show.json({"id": str(event_id), "taken": take})
            else:
                click.echo(f"{event_id} stands")
            return
        skew_s = settings.version_skew_s
        stored = conflicts.take_second(opened, event_id, fingerprint, by=whoami(), skew_s=skew_s)
    if as_json:
        show.json({"id": str(stored.id), "taken": take})
    else:
        click.echo(f"{stored.id} waits to be applied")


def _short(content: object) -> str | None:
    if content is None:
        return None
    text = show.fragment(content)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
