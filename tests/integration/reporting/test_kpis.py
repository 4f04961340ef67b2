"""KPIs: each figure held to events whose truth is known, over a window and by campaign."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.db.engine import transaction
from app.dispatcher.loop import Dispatcher
from app.models import Outcome, Scope
from app.reporting.kpis import Kpis, Window, kpis
from app.resources import Resources
from app.security import api_keys
from app.web.factory import create_app
from config.settings import Settings
from tests.support import cli_run
from tests.support.factories import Inbox, incoming

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = Window(NOON - 12 * HOUR, NOON + 12 * HOUR)


def ended(  # noqa: PLR0913  # one event's facts
    inbox: Inbox,
    outcome: Outcome | None = Outcome.APPLIED,
    *,
    took_s: float = 1,
    wait_s: float = 0.5,
    campaign: str | None = None,
    at: datetime = NOON,
    effective_at: datetime | None = None,
    type: str = "price.updated",  # noqa: A002  # the field's own name
) -> None:
    """Store an event that arrived at a time, and let it have ended."""
    data: dict[str, Any] = {"id": "x", "amount": "1", "currency": "EUR"} | (
        {"campaign_id": campaign} if campaign else {}
    )
    (stored,) = inbox.accept(incoming(type, data=data))
    due = effective_at or at
    inbox.sql(
        "UPDATE event SET received_at = :at, effective_at = :effective_at, due_at = :due, claimed_at = :claimed, "
        "finished_at = :finished, outcome = :outcome, status = :status WHERE id = :id",
        at=at,
        effective_at=effective_at,
        due=due,
        claimed=None if outcome is None else due + timedelta(seconds=wait_s),
        finished=None if outcome is None else due + timedelta(seconds=took_s),
        outcome=outcome,
        status=0 if outcome is None else 2,
        id=stored.id,
    )


def found(inbox: Inbox, window: Window = DAY, *, limit: int = 10) -> list[Kpis]:
    with transaction(inbox.engine) as session:
        return list(kpis(session, window, limit=limit))


def test_nothing_arrived_is_no_figure_and_no_error(inbox: Inbox) -> None:
    (total,) = found(inbox)
    assert (total.events, total.ended, total.throughput_per_s) == (0, 0, 0)
    assert {total.latency_mean_s, total.on_time_rate, total.error_rate, total.wait_mean_s, total.uptime} == {None}


def test_latency_is_from_trigger_to_applied_of_the_applied_ones(inbox: Inbox) -> None:
    for took_s in (1, 2, 3):
        ended(inbox, took_s=took_s)
    ended(inbox, Outcome.STALE, took_s=100)
    ended(inbox, took_s=4, effective_at=NOON + HOUR)
    ended(inbox, None)
    (total,) = found(inbox)
    assert (total.events, total.ended) == (6, 5)
    assert (total.latency_mean_s, total.latency_p50_s, total.latency_max_s) == (2.5, 2.5, 4)
    assert total.latency_p95_s == pytest.approx(3.85)


def test_on_time_is_within_the_lanes_objective_and_ended_well(inbox: Inbox) -> None:
    ended(inbox, took_s=5)
    ended(inbox, took_s=5.1)
    ended(inbox, Outcome.UNCHANGED, took_s=1)
    ended(inbox, Outcome.EXPIRED, took_s=1)
    ended(inbox, Outcome.DEAD, took_s=1)
    ended(inbox, took_s=59, type="segment.updated")
    ended(inbox, took_s=599, type="log.created")
    ended(inbox, took_s=601, type="log.created")
    (total,) = found(inbox)
    assert total.on_time_rate == 4 / 8
    assert total.error_rate == 1 / 8
    assert total.throughput_per_s == pytest.approx(8 / 86400, abs=1e-6)


def test_the_wait_is_from_due_to_claimed(inbox: Inbox) -> None:
    ended(inbox, wait_s=0.2)
    ended(inbox, wait_s=0.6, took_s=3)
    ended(inbox, Outcome.SUPERSEDED, wait_s=-5)
    (total,) = found(inbox)
    assert (total.wait_mean_s, total.wait_peak_s) == (0.4, 0.6)


def test_campaigns_come_after_the_whole_the_greatest_first(inbox: Inbox) -> None:
    for campaign, count in (("spring", 1), ("black-friday", 3), (None, 2)):
        for _ in range(count):
            ended(inbox, campaign=campaign)
    assert [(one.source, one.campaign, one.events) for one in found(inbox)] == [
        (None, None, 6),
        ("shop", "black-friday", 3),
        ("shop", "spring", 1),
    ]
    assert [one.campaign for one in found(inbox, limit=1)] == [None, "black-friday"]
    spring = Window(DAY.since, DAY.until, "shop", "spring")
    assert [(one.campaign, one.events) for one in found(inbox, spring)] == [(None, 1), ("spring", 1)]
    assert found(inbox, Window(DAY.since, DAY.until, "another"))[0].events == 0
    assert found(inbox, Window(NOON + HOUR, DAY.until))[0].events == 0


def test_uptime_of_a_campaign_is_of_its_own_minutes(inbox: Inbox) -> None:
    ended(inbox, campaign="sale")
    ended(inbox)
    inbox.sql(
        "INSERT INTO campaign (source_id, entity_type, entity_id, version, starts_at, ends_at) "
        "VALUES (:source, 'campaign', 'sale', 1, :starts, :ends)",
        source=inbox.source.id,
        starts=NOON,
        ends=NOON + timedelta(minutes=3),
    )
    for minute in (-60, 0, 1, 3):
        inbox.sql("INSERT INTO uptime VALUES (:at)", at=NOON + timedelta(minutes=minute))
    total, sale = found(inbox)
    # Of the minutes 12:00 to 12:03 one is missing; of the whole, what lay before the first note doesn't count.
    assert sale.uptime == 0.75
    assert total.uptime == pytest.approx(4 / (13 * 60 + 1), abs=1e-5)


def test_a_dispatcher_notes_that_it_is_up_once_a_minute(inbox: Inbox, resources: Resources) -> None:
    dispatcher = Dispatcher(resources)
    dispatcher.step()
    dispatcher._pulse_at = 0
    dispatcher.step()
    ((noted,),) = inbox.sql("SELECT count(*) FROM uptime")
    assert noted in {1, 2}  # the minute may have turned


def test_the_desk_and_the_command_say_the_same(settings: Settings, inbox: Inbox) -> None:
    ended(inbox, campaign="sale", took_s=2)
    flask_app = create_app(settings)
    try:
        with transaction(inbox.engine) as session:
            key = api_keys.create(session, inbox.vault, "test", Scope.READ)
        ask = {"headers": {"Authorization": f"Bearer {key}"}}
        span = {"since": DAY.since.isoformat(), "until": DAY.until.isoformat()}
        answer = flask_app.test_client().get("/v1/kpis", query_string=span, **ask)
        assert answer.status_code == 200
        shown: Any = answer.json
        assert shown["total"]["latency_s"] == {"mean": 2.0, "p50": 2.0, "p95": 2.0, "max": 2.0}
        assert [one["campaign"] for one in shown["campaigns"]] == ["sale"]
        said = cli_run.from_json("kpis", "--since", span["since"], "--until", span["until"])
        assert said["campaigns"] == shown["campaigns"]
        for wrong in ({"until": span["since"], "since": span["until"]}, {"lane": "high"}, {"since": "yesterday"}):
            assert flask_app.test_client().get("/v1/kpis", query_string=wrong, **ask).status_code == 400
        today: Any = flask_app.test_client().get("/v1/kpis", **ask).json
        assert today["total"]["events"] == 0
    finally:
        flask_app.extensions["receiver"].close()
    table = cli_run.ok("kpis", "--since", span["since"], "--until", span["until"])
    assert "100.00%" in table
    assert "sale" in table
    assert cli_run.run("kpis", "--since", span["until"], "--until", span["since"]).exit_code == 2
