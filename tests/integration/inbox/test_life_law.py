"""The law of an event's life: whatever is done to it in whatever order, it ends once, and its entity at its newest.

Store, dispatch, process, re-prioritise, schedule, expire, crash, lose a message and get one twice, in any sequence, on
the real database; what a worker, the dispatcher and a person do are the functions that they call.
"""

import itertools
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from app.db.engine import transaction
from app.db.pipeline import autocommit, pipelined_transaction
from app.dispatcher.refill import Refill
from app.errors import ClaimLost
from app.handlers.apply import apply
from app.inbox import claim as inbox_claim
from app.inbox import deadlines, due, finish
from app.inbox.claim import Claim
from app.inbox.reprioritise import Move, NotWaiting, Selection, reprioritise, reprioritise_all
from app.messaging.pointer import Pointer
from app.models import Lane, Outcome, Status
from app.resources import Resources
from bench.harness.reference import Accepted, Row, accepted, reference
from tasks.process import process
from tests.support.factories import Inbox, incoming

_RUN = itertools.count()
_ENDED = {
    Outcome.APPLIED,
    Outcome.STALE,
    Outcome.SUPERSEDED,
    Outcome.TOMBSTONED,
    Outcome.UNCHANGED,
    Outcome.EXPIRED,
}
ENTITIES, VERSIONS = st.integers(0, 1), st.one_of(st.integers(1, 5), st.none())
VERBS = st.sampled_from(["created", "updated", "updated", "deleted", "paid"])


@dataclass
class _Model:
    """What was accepted, and what is under way outside of the database."""

    run: int
    told: dict[uuid.UUID, Accepted] = field(default_factory=dict)
    pointers: list[Pointer] = field(default_factory=list)
    """Published and not yet used; kept after use, too, since a message may come twice."""


class Life(RuleBasedStateMachine):
    """One inbox and everything that may happen to it."""

    inbox: Inbox
    resources: Resources

    @initialize()
    def begin(self) -> None:
        self.inbox.sql("UPDATE event SET status = 2, outcome = 1 WHERE status < 2")
        self.model = _Model(next(_RUN))
        self.refills = {lane: Refill(lane) for lane in Lane}

    @rule(entity=ENTITIES, verb=VERBS, version=VERSIONS, content=st.integers(0, 2), is_open=st.booleans())
    def store(self, entity: int, verb: str, version: int | None, content: int, *, is_open: bool) -> None:
        self.inbox.sql("UPDATE lane SET open = :open", open=is_open)
        entity_type = "order" if verb == "paid" else "price"
        data = {"id": entity, "amount": str(content), "currency": "EUR"}
        event = incoming(f"{entity_type}.{verb}", f"{self.model.run}-{entity}", version, data=data)
        stored = self.inbox.accept(event, received_at=2.0)[0]
        self.model.told[stored.id] = accepted(str(stored.id), event, Decimal(2), fact=verb == "paid")
        if stored.publish:
            self.model.pointers.append(Pointer(stored.id, 0))

    def _any(self, number: int) -> uuid.UUID:
        return list(self.model.told)[number % len(self.model.told)]

    @precondition(lambda self: self.model.told)
    @rule(lane=st.sampled_from(Lane), window=st.integers(1, 4))
    def dispatch(self, lane: Lane, window: int) -> None:
        with pipelined_transaction(self.resources.engine) as session:
            load = next(load for load in due.loads(session) if load.lane is lane)
            taken = self.refills[lane].take(session, load, window)
        assert len(taken) <= window + 1
        self.model.pointers += [dispatch.pointer for dispatch in taken]

    @precondition(lambda self: self.model.pointers)
    @rule(which=st.integers(0, 100), again=st.booleans())
    def process(self, which: int, *, again: bool) -> None:
        pointer = self.model.pointers[which % len(self.model.pointers)]
        if not again:
            self.model.pointers.remove(pointer)
        process(self.resources, [pointer])

    @precondition(lambda self: self.model.pointers)
    @rule(which=st.integers(0, 100), known=st.booleans())
    def lose_a_message(self, which: int, *, known: bool) -> None:
        pointer = self.model.pointers.pop(which % len(self.model.pointers))
        if known:
            with pipelined_transaction(self.resources.engine) as session:
                due.unpublished(session, [pointer.event_id])

    @precondition(lambda self: self.model.pointers)
    @rule(which=st.integers(0, 100), applied=st.booleans(), counted=st.booleans(), noticed=st.booleans())
    def crash(self, which: int, *, applied: bool, counted: bool, noticed: bool) -> None:
        """A worker dies behind its claim, or in the middle of applying; its lease runs out now or later."""
        pointer = self.model.pointers.pop(which % len(self.model.pointers))
        with autocommit(self.resources.engine) as session:
            found = inbox_claim.waiting(session, [pointer])
        if not found:
            return
        claimed = Claim((found[0][1].first,), uuid.uuid4(), counted=counted)
        with pytest.raises(_Died), pipelined_transaction(self.resources.engine) as session:
            inbox_claim.claim(session, claimed, 10)
            with suppress(ClaimLost):
                fenced = finish.fence(session, claimed)
                if applied:
                    apply(session, fenced)
            raise _Died
        if noticed:
            self._leases_end()

    def _leases_end(self) -> None:
        self.inbox.sql("UPDATE event SET lease_until = now() - interval '1 s' WHERE status = 1")
        with pipelined_transaction(self.resources.engine) as session:
            due.expire_leases(session, 1_000)

    @precondition(lambda self: self.model.told)
    @rule(which=st.integers(0, 100), lane=st.sampled_from(Lane))
    def reprioritise_one(self, which: int, lane: Lane) -> None:
        event_id = self._any(which)
        before = self.inbox.event(event_id)
        move = Move(lane, by="the law")
        try:
            with transaction(self.inbox.engine) as session:
                reprioritise(session, event_id, move)
        except NotWaiting:
            assert before.status is not Status.PENDING
        else:
            assert self.inbox.event(event_id).generation == before.generation + (lane is not before.lane)

    @rule(lane=st.sampled_from(Lane), entity=ENTITIES)
    def reprioritise_many(self, lane: Lane, entity: int) -> None:
        wanted = Selection(entity_id=f"{self.model.run}-{entity}")
        for _ in reprioritise_all(lambda: transaction(self.inbox.engine), wanted, Move(lane, by="the law"), 100):
            pass
        elsewhere = "SELECT 1 FROM event WHERE status = 0 AND entity_id = :entity AND lane <> :lane"
        assert self.inbox.sql(elsewhere, entity=wanted.entity_id, lane=int(lane)) == []

    @precondition(lambda self: self.model.told)
    @rule(which=st.integers(0, 100), later=st.booleans())
    def schedule(self, which: int, *, later: bool) -> None:
        """Its time is later, or it comes."""
        self.inbox.sql(
            "UPDATE event SET due_at = now() + make_interval(hours => :hours) WHERE id = :id AND status = 0",
            id=self._any(which),
            hours=int(later),
        )

    @precondition(lambda self: self.model.told)
    @rule(which=st.integers(0, 100), swept=st.booleans())
    def expire(self, which: int, *, swept: bool) -> None:
        self.inbox.sql(
            "UPDATE event SET expires_at = now() - interval '1 s' WHERE id = :id AND status = 0 AND operation <> 3",
            id=self._any(which),
        )
        if swept:
            with pipelined_transaction(self.resources.engine) as session:
                deadlines.expire(session)

    @precondition(lambda self: self.model.told)
    @rule(which=st.integers(0, 100))
    def promote(self, which: int) -> None:
        self.inbox.sql(
            "UPDATE event SET expires_at = now() + interval '1 hour' "
            "WHERE id = :id AND status = 0 AND expires_at IS NULL AND operation <> 3",
            id=self._any(which),
        )
        with pipelined_transaction(self.resources.engine) as session:
            deadlines.promote(session, 7_200)

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        self._drain()
        ends = {event_id: self.inbox.event(event_id) for event_id in self.model.told}
        # Each event ended once, in exactly one way
        assert {event.outcome for event in ends.values()} <= _ENDED
        for event in ends.values():
            assert (event.status, event.claim_token, event.finished_at is None) == (Status.COMPLETED, None, False)
        # Each entity is at the newest of what wasn't too late, and each fact that wasn't is there once
        expired = {event_id for event_id, event in ends.items() if event.outcome is Outcome.EXPIRED}
        rows, facts = reference(told for event_id, told in self.model.told.items() if event_id not in expired)
        source, prefix = self.inbox.source.name, f"{self.model.run}-%"
        found = self.inbox.sql(
            "SELECT entity_type, entity_id, version, data FROM entity WHERE entity_id LIKE :run", run=prefix
        )
        assert {(source, kind, key): Row(version, data is None, data) for kind, key, version, data in found} == rows
        recorded = Counter(
            str(row[0]) for row in self.inbox.sql("SELECT event_id FROM fact WHERE entity_id LIKE :run", run=prefix)
        )
        assert recorded == Counter(facts)

    def _drain(self) -> None:
        """Do what time, the dispatcher and a worker do until nothing waits."""
        for _ in range(60):
            if not self.inbox.sql("SELECT 1 FROM event WHERE status < 2 LIMIT 1"):
                return
            self._leases_end()
            self.inbox.sql("UPDATE event SET due_at = now() WHERE status = 0")
            with pipelined_transaction(self.resources.engine) as session:
                taken = []
                for load in due.loads(session):
                    taken += self.refills[load.lane].take(session, load, 100)
                    taken += due.take_lost(session, load.lane, 0, 100)
            process(self.resources, [dispatch.pointer for dispatch in taken])
        raise AssertionError("events still wait")


class _Died(Exception):
    """A worker is no more."""


def test_whatever_happens_each_event_ends_once_and_each_entity_at_its_newest(
    inbox: Inbox, resources: Resources
) -> None:
    made = type("Life", (Life,), {"inbox": inbox, "resources": resources})
    run_state_machine_as_test(made, settings=hypothesis_settings(max_examples=30, stateful_step_count=25))
