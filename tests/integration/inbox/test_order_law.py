"""The law of order: any events in any order, repeated, by several workers at once, end in the same rows."""

import itertools
import random
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.events.incoming import Incoming
from app.messaging.pointer import Pointer
from app.models import Outcome, Status
from app.resources import Resources
from bench.harness.reference import Accepted, Row, accepted, reference
from config.settings import Settings
from tasks.process import process
from tests.support.factories import Inbox
from tests.support.ordered_events import build

WORKERS = 3
_RUN = itertools.count()


@pytest.fixture
def workers(settings: Settings, inbox: Inbox) -> Iterator[list[Resources]]:
    opened = [Resources.open(settings, pool_size=2) for _ in range(WORKERS)]
    yield opened
    for resources in opened:
        resources.close()


EVENTS = st.lists(
    st.builds(
        build,
        st.integers(0, 2),
        st.sampled_from(["created", "updated", "updated", "deleted", "paid", "refunded"]),
        st.one_of(st.integers(1, 4), st.none()),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=12,
)


def work(resources: Resources, pointers: list[Pointer], start: threading.Barrier, message: int) -> None:
    start.wait()
    for first in range(0, len(pointers), message):
        process(resources, pointers[first : first + message])


@hypothesis_settings(max_examples=25)
@given(events=EVENTS, seed=st.integers(0, 2**32))
def test_final_rows_equal_the_reference_model(
    inbox: Inbox, workers: list[Resources], events: list[Incoming], seed: int
) -> None:
    run, dice = next(_RUN), random.Random(seed)
    # Given events of entities of this run's own, each stored once or twice, in any order
    told = [replace(event, entity_id=f"{run}-{event.entity_id}") for event in events]
    arrivals = told + dice.sample(told, len(told) // 2)
    dice.shuffle(arrivals)
    model: dict[uuid.UUID, Accepted] = {}
    for event in arrivals:
        arrived_at = 2.0 if event.version is None and event.operation.name != "DELETE" else 3.0
        stored = inbox.accept(event, received_at=arrived_at)[0]
        fact = event.type in {"order.paid", "order.refunded"}
        model.setdefault(stored.id, accepted(str(stored.id), event, Decimal(int(arrived_at)), fact=fact))
    # When several workers take their pointers, in any order, with any repetition
    start = threading.Barrier(WORKERS)
    threads = []
    for resources in workers:
        pointers = [Pointer(event_id, 0) for event_id in dice.sample(list(model), len(model))]
        threads.append(threading.Thread(target=work, args=(resources, pointers, start, dice.randint(1, 6))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finish(inbox, workers[0], list(model))
    # Then every row is what the reference model says, each fact is there once, and each event has one outcome
    rows, facts = reference(model.values())
    source = inbox.source.name
    found = {
        (source, entity_type, entity_id): Row(version, data is None, data)
        for entity_type, entity_id, version, data in inbox.sql(
            "SELECT entity_type, entity_id, version, data FROM entity WHERE entity_id LIKE :run", run=f"{run}-%"
        )
    }
    assert found == rows
    recorded = inbox.sql("SELECT event_id FROM fact WHERE entity_id LIKE :run", run=f"{run}-%")
    assert sorted(str(row[0]) for row in recorded) == sorted(facts)
    outcomes = {inbox.event(event_id).outcome for event_id in model}
    allowed = {Outcome.APPLIED, Outcome.STALE, Outcome.SUPERSEDED, Outcome.TOMBSTONED, Outcome.UNCHANGED}
    assert outcomes <= allowed
    live = {key[2] for key, row in rows.items() if key[1] == "price" and not row.deleted}
    prices = inbox.sql("SELECT entity_id, version FROM price WHERE entity_id LIKE :run", run=f"{run}-%")
    assert {row[0] for row in prices} == live
    assert all(rows[source, "price", entity_id].version == version for entity_id, version in prices)


def finish(inbox: Inbox, resources: Resources, ids: list[uuid.UUID]) -> None:
    """Do what the dispatcher would: bring back whatever still waits, until nothing does."""
    for _ in range(50):
        waiting = [event_id for event_id in ids if inbox.event(event_id).status is not Status.COMPLETED]
        if not waiting:
            return
        inbox.sql("UPDATE event SET due_at = now() WHERE status = 0")
        for event_id in waiting:
            process(resources, [Pointer(event_id, 0)])
    raise AssertionError("events still wait")
