"""Owns ``tiercel metrics``: the numbers without a receiver, as on a machine that runs only workers."""

import time

import click
from prometheus_client import start_http_server

from app.cli.connect import opened, read_settings
from app.errors import Permanent
from app.reporting.prometheus import Exposition


@click.command("metrics", epilog="Example: tiercel metrics --serve 9464")
@click.option("--serve", type=click.IntRange(1, 65535), help="Serve them on this port of BIND until stopped.")
def command(serve: int | None) -> None:
    """Show the numbers that Prometheus reads.

    Those of the processes that share this TIERCEL_HOME, and those of the whole system from the database. Served, they
    need no key: bind them where only friends can reach them.
    """
    settings = read_settings()
    with opened(settings) as engine:
        exposition = Exposition(engine)
        if serve is None:
            click.echo(exposition.text().decode(), nl=False)
            return
        try:
            start_http_server(serve, settings.bind, exposition.registry())
        except OSError as error:
            raise Permanent(f"port {serve} of {settings.bind} can't be used: {error}") from error
        click.echo(f"metrics on http://{settings.bind}:{serve}/metrics", err=True)
        while True:
            time.sleep(3600)
