"""Owns ``tiercel lanes``."""

import click

from app.cli import show
from app.cli.connect import read_settings, session
from app.inbox import read
from app.reporting import serializers


@click.command("lanes", epilog="Example: tiercel lanes --json")
@show.as_json
def command(as_json: bool) -> None:
    """Show each lane as it is now.

    Rates, latencies and what was shed are of the last minute; latency is from acceptance to applied.
    """
    with session(read_settings()) as opened:
        lanes = read.lanes(opened)
    if as_json:
        show.json([serializers.lane(lane) for lane in lanes])
        return
    columns = ("lane", "waiting", "scheduled", "in flight", "oldest due (s)", "in/s", "out/s")
    rows = [
        (
            lane.lane.name.lower(),
            lane.waiting,
            lane.scheduled,
            lane.in_flight,
            lane.oldest_due_age_s,
            lane.in_per_s,
            lane.out_per_s,
            lane.p50_ms,
            lane.p95_ms,
            lane.p99_ms,
            lane.workers if lane.dispatcher_alive else None,
            lane.shed,
            lane.shed_total,
        )
        for lane in lanes
    ]
    show.table((*columns, "p50 (ms)", "p95 (ms)", "p99 (ms)", "workers", "shed", "shed in all"), rows)
