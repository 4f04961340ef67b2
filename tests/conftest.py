"""Owns what every test shares: the private services, the schema, and a clean database for each test that asks."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from cryptography.fernet import Fernet
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import Engine, text
from xdist.scheduler import LoadFileScheduling

from app.cli.db import alembic_config
from app.db.engine import make_engine
from app.models import Base
from app.resources import Resources
from app.security.vault import Vault
from config.settings import Settings, load_settings
from config.settings import settings as process_settings
from tests.support.factories import Inbox

pytest_plugins = ("tests.support.services",)

hypothesis_settings.register_profile(
    "tiercel",
    max_examples=30,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
hypothesis_settings.load_profile("tiercel")

_WHOLE_SYSTEM = "tests/acceptance/"
_WRITTEN = text(
    " UNION ALL ".join(
        f"""SELECT '"{table.name}"' WHERE pg_relation_size('"{table.name}"') > 0"""
        for table in Base.metadata.sorted_tables
        if table.name != "lane"
    )
)
"""A table without a page has nothing; one whose rows were rolled back has."""


class ByFile(LoadFileScheduling):  # type: ignore[misc]  # xdist's types aren't found
    """Gives each file to one of xdist's workers, and all that need the whole system to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return _WHOLE_SYSTEM if file.startswith(_WHOLE_SYSTEM) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:
    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def settings(services: dict[str, str]) -> Settings:
    """The settings of this test run, also in the environment for the processes that it starts."""
    os.environ.setdefault("TIERCEL_SECRET_KEYS", Fernet.generate_key().decode())
    os.environ.setdefault("TIERCEL_KEY_PEPPER", "a pepper for the tests")
    os.environ.setdefault("FLOWER_PASSWORD", "a password for the tests")
    process_settings.cache_clear()
    return load_settings()


@pytest.fixture(scope="session")
def schema(settings: Settings) -> Iterator[Engine]:
    """An engine on a database at the newest schema."""
    engine = make_engine(settings.database_url, pool_size=10)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "head")
    yield engine
    engine.dispose()


@pytest.fixture
def engine(schema: Engine) -> Engine:
    """The same, with every table empty and every lane open."""
    with schema.begin() as connection:
        # To truncate makes each table's files anew, so only those that were written since.
        written = connection.execute(_WRITTEN).scalars().all()
        if written:
            connection.execute(text(f"TRUNCATE {', '.join(written)} RESTART IDENTITY"))
        connection.execute(
            text(
                "UPDATE lane SET open = true, out = 0, workers = 0, drain_per_s = 0, "
                "dispatcher_seen_at = NULL, oldest_due_at = NULL"
            )
        )
    return schema


@pytest.fixture
def vault(settings: Settings) -> Vault:
    return Vault(settings)


@pytest.fixture
def resources(settings: Settings, engine: Engine) -> Iterator[Resources]:
    """One worker's open connections."""
    opened = Resources.open(settings, pool_size=4)
    yield opened
    opened.close()


@pytest.fixture
def inbox(engine: Engine, vault: Vault) -> Inbox:
    """The inbox with one source, and short words for storing and looking."""
    return Inbox(engine, vault)
