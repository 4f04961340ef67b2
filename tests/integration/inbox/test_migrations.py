"""The schema's history: up, down and up again, and nothing in the models that it forgot."""

from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from app.cli.db import alembic_config
from config.settings import Settings


@pytest.fixture
def empty(settings: Settings, schema: Engine) -> Iterator[Connection]:
    """A connection to an empty database of its own."""
    with schema.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        admin.execute(text("DROP DATABASE IF EXISTS migrations"))
        admin.execute(text("CREATE DATABASE migrations"))
    engine = create_engine(schema.url.set(database="migrations"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()
    with schema.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        admin.execute(text("DROP DATABASE migrations"))


def test_the_schema_goes_up_down_and_up_again(empty: Connection) -> None:
    config = alembic_config(empty)
    command.upgrade(config, "head")
    assert "event" in inspect(empty).get_table_names()
    command.downgrade(config, "base")
    assert inspect(empty).get_table_names() == ["alembic_version"]
    command.upgrade(config, "head")
    assert empty.execute(text("SELECT count(*) FROM lane")).scalar_one() == 3


def test_the_models_and_the_schema_agree(empty: Connection) -> None:
    config = alembic_config(empty)
    command.upgrade(config, "head")
    command.check(config)
