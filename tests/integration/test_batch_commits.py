"""A batch and a single event at the door: neither waits for the other's commit."""

import threading
import uuid
from collections.abc import Iterator

import pytest

from app.resources import Resources
from app.web.receiver import Receiver
from config.settings import Settings
from tests.factories import Inbox, incoming
from tests.waiting import wait_until


@pytest.fixture
def receiver(settings: Settings, inbox: Inbox) -> Iterator[Receiver]:
    made = Receiver(Resources.open(settings), inbox.vault)
    yield made
    made.close()


def test_a_single_event_does_not_wait_for_the_commit_of_a_batch(receiver: Receiver, inbox: Inbox) -> None:
    batch = [inbox.prepared(incoming(entity_id=f"b{number}")) for number in range(50)]
    with inbox.engine.connect() as holder:
        # Whoever wants a key that another transaction is just making waits for that one's end.
        holder.exec_driver_sql(
            "INSERT INTO event_key (source_id, digest, event_id, fingerprint, lane) VALUES (%s, %s, %s, %s, 0)",
            (batch[7].source_id, batch[7].keys[0], uuid.uuid4(), b"another"),
        )
        answers: list[object] = []
        waits = threading.Thread(target=lambda: answers.extend(receiver._store(batch)))
        waits.start()
        wait_until(lambda: inbox.sql("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0] == 1)
        receiver._store([inbox.prepared(incoming(entity_id="single"))])
        assert inbox.sql("SELECT entity_id FROM event") == [("single",)]
        assert not answers
        holder.rollback()
    waits.join()
    assert inbox.sql("SELECT count(*) FROM event") == [(51,)]
