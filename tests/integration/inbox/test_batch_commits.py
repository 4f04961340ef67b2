"""A batch and a single event at the door: neither waits for the other's commit."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest

from app.errors import TiercelError
from app.resources import Resources
from app.web.webhooks.receiver import Receiver
from config.settings import Settings
from tests.support.factories import Inbox, incoming
from tests.support.waiting import wait_until

WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"


@pytest.fixture
def receiver(settings: Settings, inbox: Inbox) -> Iterator[Receiver]:
    patient = settings.model_copy(update={"store_timeout_s": 20.0})
    made = Receiver(Resources.open(patient), inbox.vault)
    # Each commit has its connection, and its statement prepared.
    made._store([inbox.prepared(incoming(entity_id="first"))])
    made._store([inbox.prepared(incoming(entity_id=f"first {number}")) for number in range(50)])
    inbox.sql("DELETE FROM event")
    yield made
    made.close()


def test_a_single_event_does_not_wait_for_the_commit_of_a_batch(receiver: Receiver, inbox: Inbox) -> None:
    # PostgreSQL ends the batch's wait after a second: where this machine was stopped for as long, once more.
    assert any(overtakes(receiver, inbox, f"single {attempt}") for attempt in range(5))


def overtakes(receiver: Receiver, inbox: Inbox, single: str) -> bool:
    """Tell whether a single event is stored while a batch still waits for its commit."""
    batch = [inbox.prepared(incoming(entity_id=f"{single} {number}")) for number in range(50)]
    with inbox.engine.connect() as holder:
        # Whoever wants a key that another transaction is just making waits for that one's end.
        holder.exec_driver_sql(
            "INSERT INTO event_key (source_id, digest, event_id, fingerprint, lane) VALUES (%s, %s, %s, %s, 0)",
            (batch[7].source_id, batch[7].keys[0], uuid.uuid4(), b"another"),
        )

        def send() -> None:
            with suppress(TiercelError):
                receiver._store(batch)

        waits = threading.Thread(target=send)
        waits.start()
        wait_until(lambda: inbox.sql(WAITS)[0][0] == 1 or not waits.is_alive())
        receiver._store([inbox.prepared(incoming(entity_id=single))])
        overtook = waits.is_alive()
        holder.rollback()
    waits.join()
    assert (single,) in inbox.sql("SELECT entity_id FROM event")
    return overtook
