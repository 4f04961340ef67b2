"""The policies' versions: one is live, every change is kept, two admins don't overwrite each other."""

import threading

import pytest
from sqlalchemy import Engine

from app.db.engine import transaction
from app.errors import Permanent
from app.models import PolicyState
from app.priority import PolicyInvalid, shipped
from app.priority.stored import versions
from app.priority.stored.diff import diff
from app.priority.stored.versions import NoCandidate, PolicyChanged, PolicyUnknown, StoredPolicy
from tests.support.factories import Inbox
from tests.support.policies import document, policy, sending

LOW, HIGH = policy(sending("price", "low")), policy(sending("price", "high"))


def put(engine: Engine, wanted: object = LOW, expected: int | None = None) -> StoredPolicy:
    with transaction(engine) as session:
        return versions.put(session, wanted, expected=expected, author="cli:me", note="why")  # type: ignore[arg-type]


def live(engine: Engine) -> StoredPolicy:
    with transaction(engine) as session:
        return versions.live(session)


def test_until_one_is_set_the_shipped_policy_is_live(engine: Engine) -> None:
    found = live(engine)
    assert (found.version, found.state, found.policy) == (0, PolicyState.LIVE, shipped().policy)
    with transaction(engine) as session:
        assert versions.find(session, 0).state is PolicyState.LIVE
    put(engine)
    with transaction(engine) as session:
        assert versions.find(session, 0).state is PolicyState.RETIRED


def test_a_policy_that_is_set_is_live_and_the_one_before_is_kept(engine: Engine) -> None:
    first, second = put(engine, LOW), put(engine, HIGH)
    assert (first.version, second.version) == (1, 2)
    found = live(engine)
    assert (found.version, found.policy, found.author, found.note) == (2, HIGH, "cli:me", "why")
    assert found.live_from is not None
    with transaction(engine) as session:
        before = versions.find(session, 1)
    assert (before.state, before.policy) == (PolicyState.RETIRED, LOW)
    with pytest.raises(PolicyUnknown), transaction(engine) as session:
        versions.find(session, 3)


def test_each_change_is_kept_with_who_when_and_what(engine: Engine) -> None:
    put(engine, LOW)
    put(engine, HIGH)
    with transaction(engine) as session:
        changes = versions.history(session, 10)
    newest = changes[0]
    assert [(change.action, change.version, change.was) for change in changes] == [("set", 2, 1), ("set", 1, 0)]
    assert newest.diff == [
        {"change": "changed", "what": "/rules/it/lane", "before": "low", "after": "high"},
    ]
    assert (newest.author, newest.note, newest.at > changes[1].at) == ("cli:me", "why", True)


@pytest.mark.parametrize("statement", ["UPDATE priority_change SET author = 'nobody'", "DELETE FROM priority_change"])
def test_the_history_can_only_grow(inbox: Inbox, statement: str) -> None:
    put(inbox.engine)
    with pytest.raises(Permanent, match="append-only"), transaction(inbox.engine) as session:
        session.connection().exec_driver_sql(statement)
    assert inbox.sql("SELECT author FROM priority_change") == [("cli:me",)]


def test_who_looked_at_an_older_version_overwrites_nothing(engine: Engine) -> None:
    assert put(engine, LOW, expected=0).version == 1
    with pytest.raises(PolicyChanged, match="version 1 is live, not 0"):
        put(engine, HIGH, expected=0)
    assert live(engine).policy == LOW


def test_of_admins_at_once_one_wins_and_the_others_are_told(engine: Engine) -> None:
    start, told = threading.Barrier(6), []

    def admin(number: int) -> None:
        start.wait()
        try:
            told.append(put(engine, policy(sending(f"noun{number}", "low")), expected=0).version)
        except PolicyChanged:
            told.append(0)

    threads = [threading.Thread(target=admin, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [0, 0, 0, 0, 0, 1]
    with transaction(engine) as session:
        assert len(versions.history(session, 10)) == 1


def test_rolling_back_brings_the_content_before_under_a_new_version(engine: Engine) -> None:
    put(engine, LOW)
    put(engine, HIGH)
    for expected in (LOW, HIGH):
        with transaction(engine) as session:
            stored = versions.roll_back(session, author="cli:me")
        assert live(engine).policy == expected
    assert (stored.version, stored.note) == (4, "back to 2")
    with transaction(engine) as session:
        stored = versions.roll_back(session, to=0, author="cli:me")
        assert versions.history(session, 1)[0].action == "rolled back"
    assert live(engine).policy == shipped().policy
    assert stored.version == 5


def test_what_never_was_is_not_rolled_back_to(engine: Engine) -> None:
    with pytest.raises(PolicyUnknown, match="nothing to roll back"), transaction(engine) as session:
        versions.roll_back(session, author="cli:me")
    put(engine)
    with pytest.raises(PolicyUnknown, match="no priority policy 9"), transaction(engine) as session:
        versions.roll_back(session, to=9, author="cli:me")
    with pytest.raises(PolicyChanged), transaction(engine) as session:
        versions.roll_back(session, expected=5, author="cli:me")


def test_a_candidate_is_beside_the_live_policy_until_it_is_promoted_or_withdrawn(engine: Engine) -> None:
    put(engine, LOW)
    with transaction(engine) as session:
        versions.propose(session, HIGH, author="cli:me")
        second = versions.propose(session, policy(), author="cli:me")
        assert versions.candidate(session) == second
    assert (live(engine).version, second.version) == (1, 3)
    with pytest.raises(PolicyChanged), transaction(engine) as session:
        versions.promote(session, expected=0, author="cli:me")
    with transaction(engine) as session:
        versions.promote(session, expected=1, author="cli:me")
    assert (live(engine).version, live(engine).policy) == (3, policy())
    with transaction(engine) as session:
        versions.propose(session, HIGH, author="cli:me")
        assert versions.withdraw(session, author="cli:me").state is PolicyState.RETIRED
        actions = [change.action for change in versions.history(session, 10)]
    assert actions == ["withdrawn", "proposed", "promoted", "proposed", "proposed", "set"]
    # Back to what was live before the candidate, not to what was only proposed.
    with transaction(engine) as session:
        assert versions.roll_back(session, author="cli:me").policy == LOW


@pytest.mark.parametrize("act", ["candidate", "withdraw", "promote"])
def test_without_a_candidate_there_is_nothing_to_do(engine: Engine, act: str) -> None:
    with pytest.raises(NoCandidate), transaction(engine) as session:
        if act == "candidate":
            versions.candidate(session)
        elif act == "withdraw":
            versions.withdraw(session, author="cli:me")
        else:
            versions.promote(session, expected=None, author="cli:me")


def test_a_policy_of_another_release_is_named_and_can_be_rolled_back(inbox: Inbox) -> None:
    put(inbox.engine, LOW)
    put(inbox.engine, HIGH)
    inbox.sql("""UPDATE priority_policy SET document = '{"rules": "of the future"}' WHERE version = 2""")
    with pytest.raises(PolicyInvalid, match="version 2 can't be read by this release"):
        live(inbox.engine)
    with transaction(inbox.engine) as session:
        versions.roll_back(session, to=1, author="cli:me")
    assert live(inbox.engine).policy == LOW


def test_a_diff_names_rules_and_paths() -> None:
    before = document(sending("a", "low", "one"), sending("b", "low", "two"), sending("c", "low", "three"))
    after = document(sending("b", "high", "two"), sending("a", "low", "one"), sending("d", "low", "four"))
    after["otherwise"] = {"name": "the rest", "lane": "low", "priority": 5}
    after["matrix"] = {"made": "up"}
    found = [(change["change"], change["what"]) for change in diff(before, after)]
    assert found == [
        ("added", "/rules/four"),
        ("removed", "/rules/three"),
        ("changed", "/rules/two/lane"),
        ("moved", "/rules"),
        ("added", "/matrix"),
        ("changed", "/otherwise/lane"),
    ]  # fmt: skip
    assert diff(after, after) == []
