"""The policy in the receiver: live soon, the last good one when it can't be read, a candidate beside it."""

from collections.abc import Iterator

import pytest

from app.db.engine import transaction
from app.db.pipeline import pipelined_transaction
from app.models import Lane
from app.priority import Compiled, shipped
from app.priority.stored import shadow, versions
from app.priority.stored.live import LivePolicies
from app.priority.stored.shadow import Shadow
from app.sources.kinds import Request
from app.web.factory import create_app
from app.web.webhooks.receiver import Receiver
from config.settings import Settings
from tests.support.factories import Inbox, incoming
from tests.support.policies import policy, sending
from tests.support.standard_posts import body, signed
from tests.support.waiting import wait_until


@pytest.fixture
def receiver(settings: Settings, inbox: Inbox) -> Iterator[Receiver]:
    made: Receiver = create_app(settings).extensions["receiver"]
    yield made
    made.close()


def accept(receiver: Receiver, inbox: Inbox, number: int) -> Lane:
    text = body(n=number)
    headers = signed(inbox.secret, text, f"msg_{number}")
    request = Request(headers, text.encode(), float(headers["webhook-timestamp"]))

    def fails() -> None:
        """Nobody counts failures here."""

    return receiver.accept(receiver.endpoint("shop", fails), request, fails).stored[0].lane


def test_a_policy_that_is_set_decides_soon_and_so_does_its_rollback(receiver: Receiver, inbox: Inbox) -> None:
    assert accept(receiver, inbox, 1) is Lane.HIGH
    with transaction(inbox.engine) as session:
        versions.put(session, policy(sending("price", "low", priority=3)), expected=0, author="cli:me")
    wait_until(lambda: receiver.endpoints.policies.live.version == 1)
    assert accept(receiver, inbox, 2) is Lane.LOW
    kept = inbox.sql("SELECT lane, priority, reasons FROM event WHERE external_id = 'msg_2'")
    assert kept == [(2, 3, ["it", "policy 1"])]
    with transaction(inbox.engine) as session:
        versions.roll_back(session, author="cli:me")
    wait_until(lambda: receiver.endpoints.policies.live.version == 2)
    assert accept(receiver, inbox, 3) is Lane.HIGH


def test_a_new_process_decides_its_first_event_by_the_live_policy(inbox: Inbox, settings: Settings) -> None:
    with transaction(inbox.engine) as session:
        versions.put(session, policy(sending("price", "low")), expected=0, author="cli:me")
    made: Receiver = create_app(settings).extensions["receiver"]
    try:
        assert accept(made, inbox, 1) is Lane.LOW
    finally:
        made.close()


def test_a_candidate_decides_nothing_and_is_counted(receiver: Receiver, inbox: Inbox) -> None:
    with transaction(inbox.engine) as session:
        versions.propose(session, policy(sending("price", "low", "cheap")), author="cli:me")
    wait_until(lambda: receiver.endpoints.policies.shadow is not None)
    assert [accept(receiver, inbox, number) for number in range(3)] == [Lane.HIGH] * 3
    wait_until(lambda: inbox.sql("SELECT sum(events) FROM priority_shadow") == [(3,)])
    counted = inbox.sql("SELECT version, against, live_lane, candidate_lane, rule, events FROM priority_shadow")
    assert counted == [(1, 0, 0, 2, "cheap", 3)]
    with transaction(inbox.engine) as session:
        versions.promote(session, expected=0, author="cli:me")
    wait_until(lambda: receiver.endpoints.policies.live.version == 1)
    assert receiver.endpoints.policies.shadow is None
    assert accept(receiver, inbox, 9) is Lane.LOW


def test_a_shadow_whose_counts_cannot_be_kept_fails_no_event_and_keeps_them_later(
    receiver: Receiver, inbox: Inbox
) -> None:
    with transaction(inbox.engine) as session:
        versions.propose(session, policy(sending("price", "low")), author="cli:me")
    wait_until(lambda: receiver.endpoints.policies.shadow is not None)
    inbox.sql("ALTER TABLE priority_shadow RENAME TO priority_shadow_away")
    try:
        assert accept(receiver, inbox, 1) is Lane.HIGH
        # Taken from the shadow, and not kept.
        wait_until(lambda: bool(receiver.endpoints.policies._left))
        assert accept(receiver, inbox, 2) is Lane.HIGH
    finally:
        inbox.sql("ALTER TABLE priority_shadow_away RENAME TO priority_shadow")
    wait_until(lambda: inbox.sql("SELECT sum(events) FROM priority_shadow") == [(2,)])


def read(policies: LivePolicies, inbox: Inbox) -> None:
    with pipelined_transaction(inbox.engine) as session:
        policies.read(session)


def test_a_policy_that_cannot_be_read_leaves_the_last_good_one(inbox: Inbox) -> None:
    policies = LivePolicies()
    read(policies, inbox)
    assert policies.live is shipped()
    with transaction(inbox.engine) as session:
        versions.put(session, policy(sending("price", "low")), expected=0, author="cli:me")
    read(policies, inbox)
    good = policies.live
    assert good.version == 1
    with transaction(inbox.engine) as session:
        versions.put(session, policy(), expected=1, author="cli:me")
    inbox.sql("""UPDATE priority_policy SET document = '{"of": "the future"}' WHERE version = 2""")
    for _ in range(2):
        read(policies, inbox)
        assert policies.live is good
    fresh = LivePolicies()
    read(fresh, inbox)
    assert fresh.live is shipped()


def test_a_process_keeps_its_compiled_policy_while_nothing_changes(inbox: Inbox) -> None:
    policies = LivePolicies()
    with transaction(inbox.engine) as session:
        versions.put(session, policy(), expected=0, author="cli:me")
        versions.propose(session, policy(sending("price", "low")), author="cli:me")
    read(policies, inbox)
    live, beside = policies.live, policies.shadow
    read(policies, inbox)
    assert policies.live is live
    assert policies.shadow is beside
    inbox.sql("UPDATE priority_policy SET state = 3")
    read(policies, inbox)
    assert (policies.live, policies.shadow) == (shipped(), None)


def test_counts_that_could_not_be_kept_are_kept_the_next_time(inbox: Inbox) -> None:
    policies = LivePolicies()
    with transaction(inbox.engine) as session:
        versions.propose(session, policy(sending("price", "low")), author="cli:me")
    read(policies, inbox)
    assert not policies.has_counts()
    policies.decide(incoming(), kind="standard", at=1.0)
    assert policies.has_counts()
    with transaction(inbox.engine) as session:
        policies.keep_counts(session)
        session.rollback()
    assert policies.has_counts()
    with transaction(inbox.engine) as session:
        versions.withdraw(session, author="cli:me")
    policies.decide(incoming(), kind="standard", at=1.0)
    # The candidate is gone; what it has counted isn't.
    read(policies, inbox)
    with transaction(inbox.engine) as session:
        policies.keep_counts(session)
    policies.counts_are_kept()
    assert not policies.has_counts()
    assert inbox.sql("SELECT events FROM priority_shadow") == [(2,)]


def test_counts_of_many_processes_add_up(inbox: Inbox) -> None:
    cell = (1, 0, Lane.HIGH, Lane.LOW, "it")
    for events in (2, 5):
        with pipelined_transaction(inbox.engine) as session:
            shadow.add(session, {cell: events, (1, 0, Lane.LOW, Lane.LOW, "it"): 1})
    assert inbox.sql("SELECT live_lane, events FROM priority_shadow ORDER BY live_lane") == [(0, 7), (2, 2)]


def test_a_busy_second_is_sampled_and_the_next_ones_all_along() -> None:
    clock = [100.0]
    beside = Shadow(Compiled(policy(), 1), per_second=10, clock=lambda: clock[0])
    event, decided = incoming(), shipped().decide(incoming(), kind="", at=None)

    def a_second_with(events: int) -> int:
        clock[0] += 1
        for _ in range(events):
            beside.compare(shipped(), decided, event, kind="", at=1.0)
        return sum(beside.take().values())

    assert [a_second_with(events) for events in (5, 100, 100, 40, 40, 8, 8)] == [5, 10, 10, 4, 10, 2, 8]
    clock[0] += 60
    assert a_second_with(7) == 7
