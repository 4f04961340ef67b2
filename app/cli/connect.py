"""Owns what a command opens: the settings, the logs, a transaction."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from app.cli.policygiven import author
from app.db.engine import make_engine, transaction
from app.errors import Permanent
from app.security.audit import acting
from config.logs import configure_logs
from config.settings import Settings, SettingsInvalid, load_settings


def read_settings() -> Settings:
    """Read the settings and set up the logs as they say.

    Raises:
        Permanent: names each setting that can't be used.
    """
    try:
        settings = load_settings()
    except SettingsInvalid as error:
        raise Permanent(f"the settings can't be used: {error}") from error
    configure_logs(settings)
    return settings


@contextmanager
def opened(settings: Settings, *, pool_size: int = 1, statement_timeout_ms: int = 30_000) -> Iterator[Engine]:
    """Open an engine and close it at the end.

    Raises:
        Permanent: DATABASE_URL isn't one.
    """
    try:
        engine = make_engine(settings.database_url, pool_size=pool_size, statement_timeout_ms=statement_timeout_ms)
    except (ArgumentError, ImportError, ValueError) as error:
        # Not the error's own text: it may hold the URL, and so the password.
        raise Permanent("DATABASE_URL isn't a postgresql:// URL") from error
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def session(settings: Settings) -> Iterator[Session]:
    """Open a session in one transaction, committed at the end. Raises what ``app.db.engine.transaction`` raises."""
    with opened(settings) as engine, transaction(engine) as opened_session:
        acting(opened_session, author())
        yield opened_session
