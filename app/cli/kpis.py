"""Owns ``tiercel kpis``."""

from datetime import UTC, datetime, timedelta

import click

from app.cli import show
from app.cli.connect import read_settings, session
from app.cli.given import Moment
from app.reporting import serializers
from app.reporting.kpis import Kpis, Window, kpis

_COLUMNS = ("source", "campaign", "events", "ended", "latency mean (s)", "p95 (s)", "on time", "per s", "errors")


@click.command("kpis", epilog="Example: tiercel kpis --since 7d --campaign black-friday")
@click.option("--since", type=Moment(), help="From when; 24 hours before --until where not given.")
@click.option("--until", type=Moment(), help="Until when; now where not given.")
@click.option("--source", help="Only events of this source.")
@click.option("--campaign", help="Only events of this campaign.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Campaigns at most.")
@show.as_json
def command(  # noqa: PLR0913  # one each for what can be said
    since: datetime | None, until: datetime | None, source: str | None, campaign: str | None, limit: int, as_json: bool
) -> None:
    """What the business asks, over a window and by campaign.

    Of the events that arrived in the window: how fast they took effect, how many on time, how many failed, how long
    they waited, and how much of the time everything was up.
    """
    end = until or datetime.now(UTC)
    window = Window(since or end - timedelta(days=1), end, source, campaign)
    if window.since >= window.until:
        raise click.UsageError("--since isn't before --until")
    with session(read_settings()) as opened:
        total, *campaigns = kpis(opened, window, limit=limit)
    if as_json:
        shown = {"since": window.since, "until": window.until, "total": serializers.kpis(total)}
        show.json({**shown, "campaigns": [serializers.kpis(one) for one in campaigns]})
        return
    show.table((*_COLUMNS, "wait mean (s)", "peak (s)", "uptime"), [_row(one) for one in (total, *campaigns)])


def _row(one: Kpis) -> tuple[object, ...]:
    return (
        one.source or "all",
        one.campaign or "",
        one.events,
        one.ended,
        one.latency_mean_s,
        one.latency_p95_s,
        _share(one.on_time_rate),
        one.throughput_per_s,
        _share(one.error_rate),
        one.wait_mean_s,
        one.wait_peak_s,
        _share(one.uptime),
    )


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.2%}"
