"""Owns ``tiercel dispatcher``: runs the dispatcher in the foreground."""

import os
import signal

import click

from app import measures, tracing
from app.cli.connect import read_settings
from app.dispatcher import Dispatcher
from app.resources import Resources


@click.command("dispatcher", epilog="Example: tiercel dispatcher")
def command() -> None:
    """Publish what is due, until stopped.

    Start as many as you like: one leads, the others stand by.
    """
    resources = Resources.open(read_settings(), pool_size=3)
    measures.begin("dispatcher", main=os.getpid(), slot=0)
    tracing.begin("dispatcher")
    dispatcher = Dispatcher(resources)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stopping.set())
    dispatcher.run()
    resources.close()
