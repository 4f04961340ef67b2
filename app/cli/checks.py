"""Owns what ``tiercel doctor`` checks. A check never raises, never shows a secret, and says what to do."""

import socket
import time
from collections.abc import Iterator

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from amqp.exceptions import AMQPError, PreconditionFailed
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine, text

from app.cli import precautions
from app.cli.connect import opened
from app.cli.db import alembic_config
from app.cli.state import Check, SystemState
from app.coordination.entity_locks import EntityLocks
from app.db.engine import database_errors, transaction
from app.errors import TiercelError
from app.inbox import read
from app.messaging.messages import queue_name
from app.messaging.publisher import Publisher
from app.models import Lane
from app.security.vault import Vault, VaultUnusable
from app.sources import configured
from config.settings import Settings

_BROKEN = (TiercelError, AMQPError, KombuError, RedisError, OSError, ImportError, LookupError, ValueError)
"""What a service that is away, or a URL that isn't one, can raise."""
_CLOCK_ODD_S, _CLOCK_WRONG_S = 1.0, 60.0
_PORT_S = 1.0
_START = "start it with its line of the Procfile; `make up` starts everything"
_UPGRADE = "run `tiercel db upgrade`"


def run(settings: Settings) -> Iterator[Check]:
    """Check everything, in the order in which things depend on each other."""
    yield from precautions.settings(settings)
    yield precautions.files()
    yield from _database(settings)
    yield from _broker(settings)
    yield _redis(settings)
    for name, port in (("receiver", settings.port), ("flower", settings.flower_port)):
        yield _listening(name, port)


def unusable_settings(error: TiercelError) -> Iterator[Check]:
    """Say that the settings can't be read, so that nothing else can be checked."""
    yield Check("settings", SystemState.WRONG, str(error), "correct them in the environment or in $TIERCEL_HOME/env")


def _database(settings: Settings) -> Iterator[Check]:
    try:
        with opened(settings) as engine, database_errors(), engine.connect() as connection:
            version = connection.execute(text("SHOW server_version")).scalar_one()
            ahead_s = _ahead_s(connection)
            current = MigrationContext.configure(connection).get_current_revision()
            head = ScriptDirectory.from_config(alembic_config(connection)).get_current_head()
    except _BROKEN as error:
        advice = "set DATABASE_URL, or start PostgreSQL; `make up` starts a private one"
        yield Check("database", SystemState.WRONG, _why(error), advice)
        yield from _skipped(
            "the database can't be asked", "schema", "clock", "permissions", "dispatcher", "vault", "keys"
        )
        return
    yield Check("database", SystemState.OK, f"PostgreSQL {version} answers")
    yield _clock(ahead_s)
    if current != head:
        yield Check(
            "schema", SystemState.WRONG, f"it is at {current or 'nothing'}, this release wants {head}", _UPGRADE
        )
        yield from _skipped("the schema isn't this release's", "permissions", "dispatcher", "vault", "keys")
        return
    yield Check("schema", SystemState.OK, f"it is at {head}")
    with opened(settings) as engine:
        yield precautions.permissions(engine)
        yield _dispatcher(engine)
        yield _vault(settings, engine)
        yield precautions.keys(engine)


def _ahead_s(connection: Connection) -> float:
    """Return how far PostgreSQL's clock is ahead of ours, in seconds, to half a round trip."""
    before = time.time()
    theirs = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
    return float(theirs) - (before + time.time()) / 2


def _clock(ahead_s: float) -> Check:
    detail = f"PostgreSQL's is {abs(ahead_s):.3f} s {'ahead of' if ahead_s > 0 else 'behind'} ours"
    if abs(ahead_s) <= _CLOCK_ODD_S:
        return Check("clock", SystemState.OK, detail)
    # Signatures and versions are held against ours, leases and due times against PostgreSQL's.
    state = SystemState.WARNING if abs(ahead_s) <= _CLOCK_WRONG_S else SystemState.WRONG
    return Check("clock", state, detail, "let NTP set the clock of both machines")


def _dispatcher(engine: Engine) -> Check:
    try:
        with transaction(engine) as session:
            alive = any(pulse.dispatcher_alive for pulse in read.liveness(session).values())
    except TiercelError as error:
        return Check("dispatcher", SystemState.WRONG, _why(error), _UPGRADE)
    if alive:
        return Check("dispatcher", SystemState.OK, "it was there in the last 5 s")
    return Check("dispatcher", SystemState.WRONG, "none was there in the last 5 s: retries and backlogs wait", _START)


def _vault(settings: Settings, engine: Engine) -> Check:
    try:
        vault = Vault(settings)
        with transaction(engine) as session:
            sealed = [
                (source.name, kept["sealed"]) for source in configured.listed(session) for kept in source.secrets
            ]
    except TiercelError as error:
        advice = "set TIERCEL_SECRET_KEYS and TIERCEL_KEY_PEPPER; `make up` makes them at first start"
        return Check("vault", SystemState.WRONG, _why(error), advice)
    closed = sorted({name for name, secret in sealed if not _opens(vault, secret)})
    older = [secret for _, secret in sealed if not vault.is_newest(secret)]
    if older and not closed:
        advice = "run `tiercel secrets rotate`; then the older keys can go"
        return Check(
            "vault", SystemState.WARNING, f"an older key sealed {len(older)} of {len(sealed)} secrets", advice
        )
    if not closed:
        return Check("vault", SystemState.OK, f"its keys open all of {len(sealed)} secrets")
    advice = "add the key that sealed them to TIERCEL_SECRET_KEYS, or run `tiercel sources rotate-secret`"
    return Check("vault", SystemState.WRONG, f"no key opens the secrets of: {', '.join(closed)}", advice)


def _opens(vault: Vault, sealed: str) -> bool:
    try:
        vault.open(sealed)
    except VaultUnusable:
        return False
    return True


def _broker(settings: Settings) -> Iterator[Check]:
    names = [f"workers.{lane.name.lower()}" for lane in Lane]
    try:
        with Publisher(settings.broker_url, settings.broker_queue_type) as publisher:
            queues = publisher.queues()
    except PreconditionFailed as error:
        advice = "set BROKER_QUEUE_TYPE to what the queues are, or delete them: no event is lost with a queue"
        yield Check("broker", SystemState.WRONG, _why(error), advice)
        yield from _skipped("the queues can't be used", *names)
        return
    except _BROKEN as error:
        advice = "set BROKER_URL, or start RabbitMQ; `make up` starts a private one"
        yield Check("broker", SystemState.WRONG, _why(error), advice)
        yield from _skipped("the broker can't be asked", *names)
        return
    yield Check("broker", SystemState.OK, f"RabbitMQ answers, with {', '.join(map(queue_name, Lane))}")
    for lane, name in zip(Lane, names, strict=True):
        workers, waiting = queues[lane]
        if workers:
            yield Check(name, SystemState.OK, f"{workers} listen on {queue_name(lane)}, where {waiting} messages wait")
        else:
            yield Check(name, SystemState.WRONG, f"none listens on {queue_name(lane)}: its events wait", _START)


def _redis(settings: Settings) -> Check:
    try:
        locks = EntityLocks(settings.redis_url, ttl_s=settings.lease_s, wait_s=settings.lock_wait_s)
        try:
            locks.ping()
        finally:
            locks.close()
    except _BROKEN as error:
        advice = "set REDIS_URL, or start Redis; until then events are applied without locks"
        return Check("redis", SystemState.WARNING, _why(error), advice)
    return Check("redis", SystemState.OK, "Redis answers")


def _listening(name: str, port: int) -> Check:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=_PORT_S).close()
    except OSError:
        return Check(name, SystemState.WARNING, f"nothing listens on 127.0.0.1:{port}; it may run elsewhere", _START)
    return Check(name, SystemState.OK, f"something listens on 127.0.0.1:{port}")


def _skipped(why: str, *names: str) -> Iterator[Check]:
    return (Check(name, SystemState.SKIPPED, why) for name in names)


def _why(error: Exception) -> str:
    # A ValueError's text may be the URL, and so hold the password.
    if isinstance(error, (ValueError, LookupError, ImportError)) and not isinstance(error, TiercelError):
        return f"{type(error).__name__}: the URL can't be used"
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
