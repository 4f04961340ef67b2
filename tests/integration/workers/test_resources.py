"""What a process holds open: pinged and closed together; sources that are wrong are refused by name."""

import pytest
from sqlalchemy import text

from app.db.engine import transaction
from app.db.pipeline import pipelined_transaction
from app.errors import ConfigInvalid, SourceUnknown
from app.resources import Resources
from app.sources import configured
from config.settings import Settings
from tests.support.factories import Inbox, whsec


def test_a_ping_names_what_is_wrong(resources: Resources, settings: Settings) -> None:
    assert resources.ping() == {"database": None, "broker": None, "redis": None}
    gone = {"database_url": "postgresql+psycopg2://127.0.0.1:1/x", "broker_url": "amqp://127.0.0.1:1//"}
    away = Resources.open(settings.model_copy(update={**gone, "redis_url": "redis://127.0.0.1:1/0"}))
    wrong = away.ping()
    away.close()
    assert all(wrong.values())
    assert "Unavailable" in str(wrong["database"])


def test_sources_are_refused_by_name(inbox: Inbox) -> None:
    cases = [
        ("UPPER", "standard", {}),
        ("a", "nothing", {}),
        ("a", "standard", {"color": 1}),
        ("shop", "standard", {}),
    ]
    for name, kind, config in cases:
        with pytest.raises(ConfigInvalid), transaction(inbox.engine) as session:
            configured.add(session, inbox.vault, name, kind, whsec(), config)
    with pytest.raises(SourceUnknown), transaction(inbox.engine) as session:
        configured.find(session, "nobody")


def test_a_source_that_cannot_be_read_closes_no_door_but_its_own(inbox: Inbox) -> None:
    with transaction(inbox.engine) as session:
        configured.add(session, inbox.vault, "other", "standard", whsec(), {})
    with pipelined_transaction(inbox.engine) as connection:
        connection.execute(text("UPDATE source SET kind = 'gone' WHERE name = 'other'"))
    with transaction(inbox.engine) as session:
        live, gone, _ = configured.changed_since(session, inbox.vault, inbox.source.created_at)
    assert ([endpoint.name for endpoint in live], gone) == (["shop"], ["other"])


def test_no_statement_is_compiled(resources: Resources) -> None:
    # Where a scan can't be avoided its forbidden cost would make PostgreSQL compile the statement, for 0.14 s.
    with transaction(resources.engine) as session:
        assert session.execute(text("SHOW jit")).scalar_one() == "off"
