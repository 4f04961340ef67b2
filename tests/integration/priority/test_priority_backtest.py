"""The backtest: what a policy would have done with what is stored, and what that would have meant for waiting."""

from datetime import UTC, datetime, timedelta

import pytest

from app.models import Lane
from app.priority import Compiled, shipped
from app.priority.stored.backtest import BITE, Backtest, backtest
from tests.support.factories import Inbox, incoming
from tests.support.policies import policy, sending

BEGAN = datetime(2026, 9, 21, tzinfo=UTC)
CHEAP = Compiled(
    policy(sending("price", "low", "prices wait", priority=1), sending("segment", "high", "segments first"))
)


def run(inbox: Inbox, compiled: Compiled = CHEAP, **more: object) -> Backtest:
    span = {"since": BEGAN, "until": BEGAN + timedelta(days=1), **more}
    return backtest(inbox.engine, compiled, **span)  # type: ignore[arg-type]


def fill(inbox: Inbox, *types: str) -> None:
    for number, event_type in enumerate(types):
        inbox.accept(incoming(event_type, f"id-{number}"), received_at=BEGAN.timestamp() + number)


def test_it_tells_what_would_have_gone_where_by_type_and_rule(inbox: Inbox) -> None:
    fill(inbox, "price.updated", "price.updated", "segment.updated", "order.created", "log.written")
    found = run(inbox).as_json()
    assert (found["events"], found["moved"], found["unreadable"]) == (5, 4, 0)
    assert found["lanes"] == {
        "high": {"high": 0, "medium": 0, "low": 2},
        "medium": {"high": 1, "medium": 1, "low": 0},
        "low": {"high": 0, "medium": 1, "low": 0},
    }
    assert found["types"][0] == {"type": "price.updated", "from": "high", "to": "low", "events": 2}
    assert {one["rule"] for one in found["rules"]} == {"prices wait", "segments first", "the rest"}
    assert (found["since"], found["until"]) == (BEGAN, BEGAN + timedelta(seconds=4))


def test_the_policy_that_decided_moves_nothing(inbox: Inbox) -> None:
    fill(inbox, "price.updated", "segment.updated", "log.written", "stock.updated")
    assert run(inbox, shipped()).moved() == 0


def test_of_more_events_than_asked_for_the_newest_count(inbox: Inbox) -> None:
    fill(inbox, *["price.updated"] * 5)
    found = run(inbox, most=3)
    assert (found.events, found.since) == (3, BEGAN + timedelta(seconds=2))
    assert run(inbox, most=5).events == 5
    assert run(inbox, since=BEGAN + timedelta(seconds=3)).events == 2
    assert run(inbox, until=BEGAN).events == 0


def test_it_reads_in_bites_and_misses_none(inbox: Inbox) -> None:
    # All at one instant: the bites go on by id.
    inbox.accept(*(incoming("price.updated", f"id-{n}") for n in range(2 * BITE + 1)), received_at=BEGAN.timestamp())
    assert run(inbox).events == 2 * BITE + 1


def test_a_body_that_cannot_be_read_is_counted_and_left_out(inbox: Inbox) -> None:
    fill(inbox, "price.updated", "segment.updated")
    inbox.sql("UPDATE event SET payload = '{' WHERE type = 'price.updated'")
    found = run(inbox)
    assert (found.events, found.unreadable) == (1, 1)


def test_waiting_is_modelled_with_the_drain_that_was_measured(inbox: Inbox) -> None:
    fill(inbox, *["price.updated"] * 20)
    inbox.sql("UPDATE event SET finished_at = :at", at=BEGAN)
    inbox.sql("UPDATE event SET received_at = :at", at=BEGAN)
    found = run(inbox)
    assert found.drains == {Lane.HIGH: 2.0, Lane.MEDIUM: 2.0, Lane.LOW: 2.0}
    assert (found.waited[Lane.HIGH].longest, found.waited[Lane.LOW].count) == (9.5, 0)
    assert (found.would_wait[Lane.HIGH].count, found.would_wait[Lane.LOW].longest) == (0, 9.5)
    # One worker's pace says more than ten seconds with little to do.
    inbox.sql("UPDATE event SET claimed_at = finished_at - interval '100 ms'")
    assert run(inbox).drains[Lane.HIGH] == pytest.approx(10.0)
    faster = run(inbox, drains={Lane.LOW: 20.0})
    assert faster.would_wait[Lane.LOW].longest == pytest.approx(0.95)


def test_nothing_stored_is_nothing_to_tell(inbox: Inbox) -> None:
    found = run(inbox).as_json()
    assert (found["events"], found["since"], found["types"]) == (0, None, [])
    assert found["waiting_model"]["high"]["drain_per_s"] == 1.0
