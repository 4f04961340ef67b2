"""How alembic reaches the database: always over the connection that the caller hands in."""

from alembic import context
from sqlalchemy import Connection

from app.models import Base


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
