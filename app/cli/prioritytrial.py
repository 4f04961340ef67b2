"""Owns ``tiercel priority backtest`` and ``shadow``: trying a policy before it decides anything."""

from datetime import UTC, datetime, timedelta

import click

from app.cli import policygiven, show
from app.cli.connect import opened, read_settings, session
from app.db.engine import transaction
from app.models import Lane
from app.priority import Compiled
from app.priority.stored import serializers, versions
from app.priority.stored.backtest import MOST, Backtest, backtest

_STATEMENT_TIMEOUT_MS = 60_000


def _drains(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> dict[Lane, float]:
    found = {}
    for one in value:
        lane, _, drain = one.partition("=")
        try:
            found[Lane[lane.upper()]] = float(drain)
        except (KeyError, ValueError):
            raise click.BadParameter(f"{one!r} isn't like high=200") from None
        if not 0 < found[Lane[lane.upper()]] < float("inf"):
            raise click.BadParameter(f"{one!r}: a drain is more than 0 events a second")
    return found


@click.command("backtest", epilog="Example: tiercel priority backtest policy.json --days 7")
@click.argument("file", metavar="FILE|-", required=False)
@click.option("--candidate", is_flag=True, help="The candidate, in place of a file.")
@click.option("--days", type=click.FloatRange(0, 366, min_open=True), default=1.0, show_default=True)
@click.option(
    "--most", type=click.IntRange(1, 5_000_000), default=MOST, show_default=True, help="The newest so many events."
)
@click.option("--drain", "drains", multiple=True, callback=_drains, metavar="LANE=N", help="A lane's drain, events/s.")
@show.as_json
def backtest_(
    file: str | None, candidate: bool, days: float, most: int, drains: dict[Lane, float], as_json: bool
) -> None:
    """Ask a policy about the stored events of the last days: where they would have gone, how long they would wait.

    The waiting times are a model's: each lane is one server with a steady drain (docs/priorities.md).
    """
    if (file is None) != candidate:
        raise click.UsageError("either FILE, or --candidate")
    policy = None if file is None else Compiled(policygiven.policy(file))
    until = datetime.now(UTC)
    with opened(read_settings(), statement_timeout_ms=_STATEMENT_TIMEOUT_MS) as engine:
        if policy is None:
            with transaction(engine) as opened_session:
                policy = versions.candidate(opened_session).compiled()
        found = backtest(engine, policy, since=until - timedelta(days=days), until=until, most=most, drains=drains)
    if as_json:
        show.json(found.as_json())
    else:
        _show(found)


@click.command("shadow", epilog="Example: tiercel priority shadow policy.json --note 'segments first'")
@click.argument("file", metavar="FILE|-", required=False)
@click.option("--stop", is_flag=True, help="Take the candidate away.")
@policygiven.note
@show.as_json
def shadow_(file: str | None, stop: bool, note: str, as_json: bool) -> None:
    """Run a candidate beside the live policy: it is asked and counted, and decides nothing.

    Without FILE, show what it would have decided differently so far.
    """
    if stop and file is not None:
        raise click.UsageError("either FILE or --stop")
    policy = None if file is None else policygiven.policy(file)
    with session(read_settings()) as opened_session:
        if stop:
            stored = versions.withdraw(opened_session, author=policygiven.author(), note=note)
        elif policy is not None:
            stored = versions.propose(opened_session, policy, author=policygiven.author(), note=note)
        else:
            stored = versions.candidate(opened_session)
        counted = serializers.shadow(opened_session, stored.version)
    if as_json:
        show.json(counted)
        return
    said = "is taken away" if stop else "runs in shadow"
    click.echo(f"version {stored.version} {said}: {counted['disagreed']} of {counted['compared']} events otherwise")
    rows = [(one["live"], one["candidate"], one["rule"], one["events"]) for one in counted["disagreements"]]
    show.table(("live", "candidate", "the candidate's rule", "events"), rows)


def _show(found: Backtest) -> None:
    shown_json = found.as_json()
    click.echo(f"{found.events} events from {show.cell(found.since)} to {show.cell(found.until)} (UTC); ", nl=False)
    click.echo(f"{found.moved()} would have gone to another lane")
    lanes = [lane.name.lower() for lane in Lane]
    rows = [(was, *(shown_json["lanes"][was][would] for would in lanes)) for was in lanes]
    show.table(("went to", *(f"would: {lane}" for lane in lanes)), rows)
    for what in ("type", "rule"):
        moved = [(one[what], one["from"], one["to"], one["events"]) for one in shown_json[f"{what}s"]]
        if moved:
            show.table((what, "from", "to", "events"), moved)
    waits = []
    for lane, model in shown_json["waiting_model"].items():
        went, would = model["as_it_went_s"], model["as_it_would_s"]
        waits.append((lane, model["drain_per_s"], went["p50"], went["p99"], would["p50"], would["p99"]))
    columns = ("lane", "drain/s", "p50 (s)", "p99 (s)", "p50 would (s)", "p99 would (s)")
    show.table(columns, waits, title="waiting, modelled")
