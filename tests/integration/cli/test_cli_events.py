"""The command line: events and lanes."""

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from app.cli import show
from app.web.factory import create_app
from config.settings import Settings
from tests.support.cli_run import from_json, ok, refused
from tests.support.factories import Inbox, incoming


def _ids(*words: str) -> list[str]:
    return [one["id"] for one in from_json("events", "list", *words)]


def _end(inbox: Inbox, event_id: uuid.UUID, status: int, outcome: int, error: str | None = None) -> None:
    statement = "UPDATE event SET status = :status, outcome = :outcome, error = :error, finished_at = now()"
    inbox.sql(f"{statement} WHERE id = :id", id=event_id, status=status, outcome=outcome, error=error)


def test_events_are_listed_newest_first_as_the_api_does(inbox: Inbox, settings: Settings) -> None:
    first, second = (inbox.accept(incoming(), received_at=1_790_000_000.0 + age)[0].id for age in (0, 1))
    assert _ids() == [str(second), str(first)]
    flask_app = create_app(settings)
    key = ok("keys", "create", "--name", "t", "--scope", "read").strip()
    try:
        answer = flask_app.test_client().get("/v1/events", headers={"authorization": f"Bearer {key}"})
        lanes = flask_app.test_client().get("/v1/lanes", headers={"authorization": f"Bearer {key}"})
    finally:
        flask_app.extensions["receiver"].close()
    assert json.loads(answer.data)["items"] == from_json("events", "list")
    assert [set(one) for one in json.loads(lanes.data)["items"]] == [set(one) for one in from_json("lanes")]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--source", "shop"), 3),
        (("--source", "other"), 0),
        (("--lane", "high"), 2),
        (("--status", "failed"), 1),
        (("--outcome", "dead"), 1),
        (("--type", "log.created"), 1),
        (("--entity-type", "price", "--entity-id", "a/b"), 1),
        (("--since", "1h"), 2),
        (("--until", "1h"), 1),
        (("--since", "2026-09-21T14:13:20"), 3),
        (("--since", "2026-09-21T16:13:20+02:00", "--until", "2026-09-22"), 1),
        (("--limit", "1"), 1),
    ],
)
def test_each_filter_filters(inbox: Inbox, words: tuple[str, ...], found: int) -> None:
    inbox.accept(incoming(entity_id="a/b"), incoming("log.created", "l-1"))
    (old,) = inbox.accept(incoming(), received_at=datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC).timestamp())
    _end(inbox, old.id, 3, 7, "no")
    assert len(_ids(*words)) == found


@pytest.mark.parametrize("words", [("--since", "yesterday"), ("--limit", "0"), ("--lane", "fast"), ("--colour", "x")])
def test_a_filter_that_cannot_be_is_a_usage_error(engine: Engine, words: tuple[str, ...]) -> None:
    refused("events", "list", *words, code=2)


def test_the_table_shows_what_senders_sent_without_letting_it_steer_the_terminal(inbox: Inbox) -> None:
    (stored,) = inbox.accept(incoming(entity_id="[bold]x\u202e\x9b1m"))
    _end(inbox, stored.id, 3, 7, "ValueError: \x1b[2J")
    shown = ok("events", "list")
    assert "price/[bold]x�\N{REPLACEMENT CHARACTER}1m" in shown
    assert "failed: dead" in shown
    assert "\x1b" not in shown
    assert str(stored.id) in shown


def test_one_event_is_shown_with_reasons_timeline_and_every_digit(inbox: Inbox) -> None:
    body: dict[str, Any] = {"id": "sku-1", "amount": Decimal("19.900000000000000001"), "note": "\u202e"}
    (stored,) = inbox.accept(incoming(data=body))
    shown = ok("events", "show", str(stored.id))
    for part in ("sku-1", "high (priority 8): prices are urgent", "timeline", "received", "19.900000000000000001"):
        assert part in shown
    assert "\u202e" not in shown
    one = from_json("events", "show", str(stored.id))
    assert one["reasons"] == ["prices are urgent", "the shipped policy"]
    assert one["timeline"][0]["step"] == "received"
    assert one["payload"]["data"]["id"] == "sku-1"
    assert "19.900000000000000001" in ok("events", "show", str(stored.id), "--json")


def test_an_ended_event_waits_again_after_a_replay(inbox: Inbox) -> None:
    (stored,) = inbox.accept(incoming())
    assert "waiting or running" in refused("events", "replay", str(stored.id))
    _end(inbox, stored.id, 2, 1)
    assert ok("events", "replay", str(stored.id)) == f"{stored.id} waits again\n"
    assert "replayed" in ok("events", "show", str(stored.id))
    assert _ids("--status", "pending") == [str(stored.id)]


def test_an_unknown_event_is_one_line_and_no_id_a_usage_error(engine: Engine) -> None:
    assert "No event of this id" in refused("events", "show", str(uuid.uuid4()))
    assert "No event of this id" in refused("events", "replay", str(uuid.uuid4()))
    refused("events", "show", "7", code=2)


def test_what_failed_and_only_that_is_counted_by_reason_without_ids(inbox: Inbox) -> None:
    stored = inbox.accept(*(incoming(entity_id=f"sku-{number}") for number in range(4)))
    for number, event in enumerate(stored[:3]):
        _end(inbox, event.id, 3, 7, f"FieldInvalid: {uuid.uuid4()} and {123456 + number} aren't prices")
    _end(inbox, stored[3].id, 3, 8)
    inbox.accept(incoming())
    most, least = from_json("events", "dead")
    assert (most["count"], most["outcome"], most["reason"]) == (3, "dead", "FieldInvalid: … and … aren't prices")
    assert (most["source"], most["type"], most["example_id"]) == ("shop", "price.updated", str(stored[2].id))
    assert (least["count"], least["outcome"], least["reason"]) == (1, "quarantined", "")
    assert "aren't prices" in ok("events", "dead")
    assert len(from_json("events", "dead", "--limit", "1")) == 1


def test_lanes_are_shown_the_most_urgent_first(inbox: Inbox) -> None:
    inbox.accept(incoming(), incoming(), incoming("log.created"))
    shown = from_json("lanes")
    assert [(lane["lane"], lane["waiting"]) for lane in shown] == [("high", 2), ("medium", 0), ("low", 1)]
    table = ok("lanes")
    assert table.index("high") < table.index("medium") < table.index("low")
    inbox.sql("UPDATE lane SET dispatcher_seen_at = now(), workers = 17")
    assert "17" in ok("lanes")


def test_cells_are_for_people() -> None:
    assert [show.cell(value) for value in (None, True, False, 1.5)] == ["-", "yes", "no", "1.5"]
    assert show.cell(datetime(2026, 11, 27, 6, tzinfo=UTC)) == "2026-11-27 06:00:00.000"
