"""Owns ``tiercel health``: whether a process on this machine, or in this container, works. For probes."""

import os
import signal
import time
from contextlib import suppress

import click

from app.cli.connect import opened, read_settings
from app.cli.groups import Group
from app.coordination import heartbeat_file, liveness
from app.coordination.heartbeat_file import HeartbeatFile
from app.coordination.liveness import LivenessCheck
from app.messaging.messages import queue_name
from app.messaging.publisher import Publisher
from app.models import Lane
from config.settings import Settings

_LOOK_EVERY_S = 1.0
_end = click.option("--end", is_flag=True, help="Kill what doesn't work, so that whoever started it starts it again.")
_seconds = click.option(
    "--watch", type=click.FloatRange(0, 600), default=7.0, show_default=True, metavar="S", help="Look for so long."
)


@click.group("health", cls=Group)
def group() -> None:
    """Tell whether what lives here works: exit code 0 or 1, for probes."""


@group.command("worker", epilog="Example: tiercel health worker high --end")
@click.argument("lane", type=click.Choice([lane.name.lower() for lane in Lane]))
@_seconds
@_end
def worker(lane: str, watch: float, end: bool) -> None:
    """Look whether the workers of LANE on this machine take messages while there are any.

    While the broker is away it says nothing against them.
    """
    settings, wanted = read_settings(), Lane[lane.upper()]
    judge, until, wrong = LivenessCheck(), time.monotonic() + watch, {}
    with Publisher(settings.broker_url, settings.broker_queue_type) as publisher:
        while True:
            queues = liveness.ready(publisher)
            pulses = heartbeat_file.read(queue_name(wanted))
            waiting = None if queues is None else queues[wanted]
            found = [(one, judge.worker(one, waiting, time.monotonic())) for one in pulses]
            wrong = {one.pid: (one, reason) for one, reason in found if reason}
            if not pulses or wrong or time.monotonic() >= until:
                break
            time.sleep(_LOOK_EVERY_S)
    _say(f"worker of {lane}", bool(pulses), list(wrong.values()), end=end)


@group.command("dispatcher", epilog="Example: tiercel health dispatcher")
@_end
def dispatcher(end: bool) -> None:
    """Look whether the dispatcher on this machine gives signs of life."""
    _look_at("dispatcher", read_settings(), end=end)


@group.command("beat", epilog="Example: tiercel health beat")
@_end
def beat(end: bool) -> None:
    """Look whether the beat on this machine gives signs of life."""
    _look_at("beat", read_settings(), end=end)


def _look_at(name: str, settings: Settings, *, end: bool) -> None:
    with opened(settings) as engine:
        reachable = liveness.answers(engine)
    pulses = heartbeat_file.read(name)
    now = time.monotonic()
    # One look only: what it remembers from before is that the database answered all the time.
    found = [
        (one, LivenessCheck(_reachable_since=one.at).check_loop(one, reachable=reachable, now=now)) for one in pulses
    ]
    _say(name, bool(pulses), [(one, reason) for one, reason in found if reason], end=end)


def _say(what: str, there: bool, wrong: list[tuple[HeartbeatFile, str]], *, end: bool) -> None:
    if not there:
        click.echo(f"no {what} runs here")
        raise click.exceptions.Exit(1)
    for one, reason in wrong:
        click.echo(f"{what}, process {one.pid}: {reason}")
        if end:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
    if wrong:
        raise click.exceptions.Exit(1)
    click.echo(f"{what} works")
