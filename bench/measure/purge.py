"""Owns ``python -m bench.measure.purge``: what a purge does to ingest, on a private PostgreSQL with fsync.

One thread stores groups of events as the receiver does, one commit after another; first alone, then beside a purge.
"""

import argparse
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from alembic import command
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text

from app.cli.db import alembic_config
from app.db.engine import make_engine, transaction
from app.db.pipeline import pipelined_transaction
from app.events.incoming import Incoming, Operation, Version
from app.inbox.prepare import NewEvent, prepare
from app.inbox.store import store
from app.models import Outcome, Source, Status
from app.priority import shipped
from app.resources import Resources
from app.security.vault import Vault
from app.sources import configured
from config.settings import Settings
from deploy.local.stack import Services
from tasks.housekeeping import purge

_GROUP = 10
_ALONE_S = 15.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.measure.purge", description=__doc__)
    parser.add_argument("--events", type=int, default=50_000, help="completed events to be purged (%(default)s)")
    parser.add_argument("--per-second", type=float, default=50.0, help="commits a second (%(default)s)")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tiercel-purge-") as folder:
        Path(folder).chmod(0o711)
        with Services(Path(folder), environ={"BROKER_URL": "amqp://none", "REDIS_URL": "redis://none"}) as services:
            keys = {name: services.env[name] for name in ("TIERCEL_SECRET_KEYS", "TIERCEL_KEY_PEPPER")}
            settings = Settings(database_url=services.env["DATABASE_URL"], **keys)  # type: ignore[arg-type]  # by alias
            _measure(settings, words.events, 1 / words.per_second)


def _measure(settings: Settings, count: int, every_s: float) -> None:
    engine = make_engine(settings.database_url, statement_timeout_ms=0)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "head")
    with transaction(engine) as session:
        secret = "whsec_" + "c2VjcmV0" * 5
        source = configured.add(session, Vault(settings), "bench", "standard", secret, {})
        session.flush()
        session.refresh(source)
    _fill(engine, source, count)
    alone = _ingest(engine, source, every_s, _until(_ALONE_S))
    resources = Resources.open(settings, pool_size=2)
    purged: dict[str, int] = {}
    took: list[float] = []
    done = threading.Event()

    def run() -> None:
        began = time.monotonic()
        purged.update(purge(resources))
        took.append(time.monotonic() - began)
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    beside = _ingest(engine, source, every_s, done.is_set)
    thread.join()
    resources.close()
    engine.dispose()
    table = Table("a commit of 10 events (ms)", "commits", "p50", "p99", "max")
    for name, times in (("alone", alone), (f"beside the purge of {purged['events']:,} in {took[0]:.0f} s", beside)):
        ordered = sorted(times)
        figures = (ordered[len(ordered) // 2], ordered[int(0.99 * (len(ordered) - 1))], ordered[-1])
        table.add_row(name, str(len(ordered)), *(f"{1000 * figure:.1f}" for figure in figures))
    Console(width=110).print(table)


def _until(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def _ingest(engine: Engine, source: Source, every_s: float, done: Callable[[], bool]) -> list[float]:
    times: list[float] = []
    while not done():
        group = [_event(source) for _ in range(_GROUP)]
        began = time.monotonic()
        with pipelined_transaction(engine) as session:
            store(session, group)
        times.append(time.monotonic() - began)
        time.sleep(max(0.0, every_s - times[-1]))
    return times


def _fill(engine: Engine, source: Source, count: int) -> None:
    made = 0
    while made < count:
        group: Sequence[NewEvent] = [_event(source) for _ in range(500)]
        with pipelined_transaction(engine) as session:
            store(session, group)
        made += len(group)
    with engine.begin() as connection:
        connection.execute(
            text(
                f"UPDATE event SET status = {Status.COMPLETED:d}, outcome = {Outcome.APPLIED:d}, "
                "finished_at = now() - interval '31 days'"
            )
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


_LIKE = Incoming(
    source="bench",
    external_id="",
    type="price.updated",
    entity_type="price",
    entity_id="",
    operation=Operation.UPDATE,
    version=Version(Decimal(1), "1"),
    payload={"type": "price.updated", "data": {"id": "x", "amount": "9.99", "note": "n" * 600}},
    data_pointer="/data",
)


def _event(source: Source) -> NewEvent:
    named = replace(_LIKE, external_id=secrets.token_hex(12), entity_id=secrets.token_hex(4))
    return prepare(
        named,
        shipped().decide(named),
        source_id=source.id,
        revision=source.revision,
        received_at=time.time(),
        skew_s=300.0,
    )


if __name__ == "__main__":
    main()
