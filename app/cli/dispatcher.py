"""Owns ``tiercel dispatcher``: runs the dispatcher in the foreground."""

import os
import signal

import click

from config.heap import load_lean


@click.command("dispatcher", epilog="Example: tiercel dispatcher")
def command() -> None:
    """Publish what is due, until stopped.

    Start as many as you like: one leads, the others stand by.
    """
    load_lean()
    # All of these only now: it runs for months.
    from app.cli.connect import read_settings  # noqa: PLC0415
    from app.dispatcher.loop import Dispatcher  # noqa: PLC0415
    from app.observability import process_metrics, tracing  # noqa: PLC0415
    from app.resources import Resources  # noqa: PLC0415

    resources = Resources.open(read_settings(), pool_size=3)
    process_metrics.begin("dispatcher", main=os.getpid(), slot=0)
    tracing.begin("dispatcher")
    dispatcher = Dispatcher(resources)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stopping.set())
    dispatcher.run()
    resources.close()
