"""The law of crashes: store, publish, claim, apply, ack, in any order, with a crash or a freeze at any point.

A state machine over the real database. Its model is only what was accepted; at the end everything is brought back
as the dispatcher would, and every row, fact and outcome must be what the reference model says.
"""

import itertools
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from app.db.engine import transaction
from app.db.pipeline import pipelined_transaction
from app.errors import ClaimLost
from app.events.incoming import Incoming
from app.handlers.apply import apply
from app.inbox import claim as inbox_claim
from app.inbox import due, finish, replay
from app.inbox.claim import Claim
from app.inbox.finish import Ended
from app.inbox.store import StoreResult
from app.messaging.pointer import Pointer
from app.models import Lane, Outcome, Status
from app.resources import Resources
from bench.harness.reference import Accepted, Row, accepted, reference
from config.settings import Settings
from tasks.process import process
from tests.support.factories import Inbox, incoming
from tests.support.ordered_events import build

_RUN = itertools.count()
_MANY = 1_000
_TURNS = 40
Picked = TypeVar("Picked")


@dataclass(frozen=True, slots=True)
class World:
    """What the machine runs on; made once."""

    inbox: Inbox
    resources: Resources


@dataclass(frozen=True, slots=True)
class Frozen:
    """A worker that stopped behind its claim."""

    claim: Claim


PICK = st.integers(0, 999)
"""Which one, of however many there are. What is drawn hangs on nothing that was done: ids that were made in the same
millisecond have no order, so the same steps need not meet the same queue."""


def pick(of: Sequence[Picked], number: int) -> Picked:
    return of[number % len(of)]


class Machine(RuleBasedStateMachine):
    """Senders, a broker, workers that crash and freeze, a dispatcher, and a person."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.run = next(_RUN)
        self.told: list[Incoming] = []
        self.model: dict[uuid.UUID, Accepted] = {}
        self.queue: list[Pointer] = []
        self.frozen: list[Frozen] = []
        self.ended: dict[uuid.UUID, Any] = {}

    @property
    def inbox(self) -> Inbox:
        return self.world.inbox

    @rule(
        entity=st.integers(0, 1),
        verb=st.sampled_from(["created", "updated", "updated", "deleted", "paid"]),
        version=st.one_of(st.integers(1, 4), st.none()),
        content=st.integers(0, 2),
    )
    def store(self, entity: int, verb: str, version: int | None, content: int) -> None:
        """A sender tells something new."""
        event = build(entity, verb, version, content)
        self._store(replace(event, entity_id=f"{self.run}-{event.entity_id}"))

    @rule(which=PICK)
    def store_again(self, which: int) -> None:
        """The answer got lost: the sender tells it again."""
        if self.told:
            self._store(pick(self.told, which))

    def _store(self, event: Incoming) -> None:
        arrived_at = 2.0 if event.version is None and event.operation.name != "DELETE" else 3.0
        (stored,) = self.inbox.accept(event, received_at=arrived_at)
        assert (stored.kept is StoreResult.NEW) == (event not in self.told)
        self.told.append(event)
        fact = event.type == "order.paid"
        self.model.setdefault(stored.id, accepted(str(stored.id), event, Decimal(int(arrived_at)), fact=fact))
        if stored.publish:
            self.queue.append(Pointer(stored.id, 0))

    @rule(which=PICK, acked=st.booleans())
    def deliver(self, which: int, acked: bool) -> None:
        """A worker takes a message and does its work; it may die between commit and ack."""
        if not self.queue:
            return
        pointer = pick(self.queue, which)
        process(self.world.resources, [pointer])
        if acked:
            self.queue.remove(pointer)

    @rule(which=st.lists(PICK, min_size=1, max_size=3), together=st.booleans())
    def freeze(self, which: list[int], together: bool) -> None:
        """A worker claims, one event or a batch, commits, and stops there: frozen, or dead for ever."""
        if not self.queue:
            return
        pointers = [pick(self.queue, number) for number in which[: 3 if together else 1]]
        with pipelined_transaction(self.inbox.engine) as session:
            firsts = {event.first for _, event in inbox_claim.waiting(session, pointers)}
        claim = claimed(self.inbox, Claim(tuple(firsts), uuid.uuid4(), counted=not together)) if firsts else None
        if claim is not None:
            self.frozen.append(Frozen(claim))

    @rule(which=PICK)
    def wake(self, which: int) -> None:
        """A frozen worker goes on where it stopped, however much has happened since."""
        if self.frozen:
            self._wake(self.frozen.pop(which % len(self.frozen)))

    def _wake(self, frozen: Frozen) -> None:
        token = frozen.claim.token
        holds = {row[0] for row in self.inbox.sql("SELECT id FROM event WHERE claim_token = :token", token=token)}
        try:
            # What a worker does behind its claim.
            with pipelined_transaction(self.inbox.engine) as session:
                fenced = finish.fence(session, frozen.claim)
                applied = apply(session, fenced)
                ended = [Ended(one.event, became) for one, became in zip(fenced, applied, strict=True) if became]
                finish.finish_with_older(session, token, ended)
            assert {one.event.id for one in fenced} == holds, "a worker went on without its claim"
        except ClaimLost:
            assert not holds
        # Where the claim is lost it changes nothing by giving back, nor by ending.
        with pipelined_transaction(self.inbox.engine) as session:
            for event_id in frozen.claim.event_ids:
                assert not finish.give_back(session, event_id, token, wait_s=0)
                assert not finish.finish(session, event_id, token, Outcome.DEAD)

    @rule()
    def time_passes(self) -> None:
        """Leases end, retries come due, pointers grow old."""
        self.inbox.sql(
            "UPDATE event SET lease_until = lease_until - interval '1 h', due_at = due_at - interval '1 h', "
            "dispatched_at = dispatched_at - interval '1 h' WHERE status IN (0, 1)"
        )

    @rule()
    def dispatch(self) -> None:
        """The dispatcher takes a step."""
        with pipelined_transaction(self.inbox.engine) as session:
            due.expire_leases(session, _MANY)
            for lane in Lane:
                taken = due.take_due(session, lane, {self.inbox.source.id: 100})
                for dispatches in (*taken.values(), due.take_lost(session, lane, 60.0, 100)):
                    self.queue += [dispatch.pointer for dispatch in dispatches]

    @rule(which=PICK)
    def re_prioritise(self, which: int) -> None:
        """A person moves what waits: its old pointers do nothing any more."""
        if not self.model:
            return
        self.inbox.sql(
            "UPDATE event SET lane = (lane + 1) % 3, generation = generation + 1, dispatched_at = NULL "
            "WHERE id = :id AND status = 0",
            id=pick(list(self.model), which),
        )

    @rule(which=PICK)
    def replay(self, which: int) -> None:
        """A person runs an ended event again."""
        if not self.model:
            return
        event_id = pick(list(self.model), which)
        with transaction(self.inbox.engine) as session:
            try:
                replay.replay(session, event_id)
            except replay.NotReplayable:
                return

    @rule()
    def lose_the_broker(self) -> None:
        """All messages are gone."""
        self.queue.clear()

    @invariant()
    def one_owner_and_one_outcome(self) -> None:
        """What runs has an owner, what has ended has an outcome and no owner."""
        wrong = self.inbox.sql(
            "SELECT id, status, outcome FROM event WHERE (status = 1) <> (claim_token IS NOT NULL) "
            "OR (status IN (2, 3)) <> (outcome IS NOT NULL) OR (status IN (2, 3)) <> (finished_at IS NOT NULL)"
        )
        assert wrong == []

    def teardown(self) -> None:
        """Bring everything back, as the dispatcher would, and hold it against the reference model."""
        for _ in range(_TURNS):
            waiting = self.inbox.sql("SELECT count(*) FROM event WHERE status IN (0, 1)")[0][0]
            if not waiting:
                break
            self.time_passes()
            self.dispatch()
            for pointer in self.queue:
                process(self.world.resources, [pointer])
            self.queue.clear()
        assert self.inbox.sql("SELECT id, status FROM event WHERE status IN (0, 1)") == []
        # Whoever wakes up only now changes nothing.
        before = self._rows()
        for frozen in self.frozen:
            self._wake(frozen)
        assert self._rows() == before
        self._check()

    def _rows(self) -> list[Any]:
        return self.inbox.sql(
            "SELECT entity_type, entity_id, version, data FROM entity WHERE entity_id LIKE :run ORDER BY 1, 2",
            run=f"{self.run}-%",
        )

    def _check(self) -> None:
        rows, facts = reference(self.model.values())
        source = self.inbox.source.name
        found = {(source, noun, name): Row(version, data is None, data) for noun, name, version, data in self._rows()}
        assert found == rows
        recorded = self.inbox.sql("SELECT event_id FROM fact WHERE entity_id LIKE :run", run=f"{self.run}-%")
        assert sorted(str(row[0]) for row in recorded) == sorted(facts)
        ends = self.inbox.sql("SELECT id, status, outcome FROM event WHERE entity_id LIKE :run", run=f"{self.run}-%")
        assert {row[0] for row in ends} == set(self.model)
        assert all(row[1] == Status.COMPLETED and row[2] != Outcome.DEAD for row in ends)


@pytest.fixture
def world(settings: Settings, inbox: Inbox) -> Iterator[World]:
    opened = Resources.open(settings.model_copy(update={"max_attempts": _MANY}), pool_size=2)
    yield World(inbox, opened)
    opened.close()


@pytest.mark.timeout(300)
def test_whatever_crashes_or_freezes_each_event_ends_once_and_each_row_is_right(world: World) -> None:
    Machine.world = world
    run_state_machine_as_test(
        Machine,
        settings=hypothesis_settings(max_examples=25, stateful_step_count=30, deadline=None),
    )


@pytest.mark.parametrize("event_type", ["order.paid", "price.updated"])
@pytest.mark.parametrize("counted", [True, False])
def test_what_runs_or_has_ended_is_not_claimed_again(inbox: Inbox, event_type: str, counted: bool) -> None:
    pointer = inbox.pointer(incoming(event_type))
    first = claimed(inbox, Claim((pointer.event_id,), uuid.uuid4(), counted=counted))
    assert first is not None
    for end in (False, True):
        if end:
            with pipelined_transaction(inbox.engine) as session:
                assert finish.finish(session, pointer.event_id, first.token, Outcome.APPLIED)
        assert claimed(inbox, Claim((pointer.event_id,), uuid.uuid4(), counted=counted)) is None


def claimed(inbox: Inbox, wanted: Claim) -> Claim | None:
    """Claim events and return what of it holds, committed."""
    try:
        with pipelined_transaction(inbox.engine) as session:
            inbox_claim.claim(session, wanted, 10.0)
            finish.fence(session, wanted)
    except ClaimLost:
        return None
    return wanted
