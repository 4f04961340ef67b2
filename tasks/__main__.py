"""Owns ``python -m tasks``: Celery's own ``worker`` and ``beat``, without the rest of Celery's command line.

The words are those of the ``celery`` command, which works as well. That loads every command there is, with the prompt
of its shell and with Flower (docs/decisions/0028).
"""

import os
from contextlib import suppress

import click
from celery.app.utils import find_app
from celery.bin.base import CLIContext
from celery.bin.beat import beat
from celery.bin.worker import worker

from config.heap import load_lean


@click.group()
@click.option("-A", "--app", required=True, help="Where the Celery application is, as in tasks.worker:celery.")
@click.option(
    "--niceness", type=click.IntRange(-20, 19), help="How much to give way, as with nice(1); where it is allowed."
)
@click.option("-q", "--quiet", is_flag=True, help="Say only what matters.")
@click.pass_context
def tasks(context: click.Context, app: str, niceness: int | None, *, quiet: bool) -> None:
    """Run a worker, or beat."""
    if niceness is not None:
        # To go before others takes root, or CAP_SYS_NICE; nice(1) would say so at every start.
        with suppress(PermissionError):
            os.nice(niceness)
    load_lean()
    try:
        found = find_app(app)
    except (ModuleNotFoundError, AttributeError) as error:
        raise click.UsageError(f"there is no Celery application {app}: {error}") from error
    context.obj = CLIContext(app=found, no_color=True, workdir=None, quiet=quiet)


tasks.add_command(worker)
tasks.add_command(beat)

if __name__ == "__main__":
    tasks(prog_name="python -m tasks")
