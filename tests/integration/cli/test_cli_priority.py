"""The command line: the priority policy, from reading it to trying another one safely."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from app.db.pipeline import pipelined_transaction
from app.models import Lane
from app.priority.default import DOCUMENT
from app.priority.stored import shadow
from tests.support.cli_run import from_json, ok, refused
from tests.support.factories import Inbox, incoming
from tests.support.policies import document, sending

LOW = document(sending("price", "low"))


@pytest.fixture
def low(tmp_path: Path, engine: Engine) -> str:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(LOW))
    return str(path)


def live_rules() -> Any:
    return from_json("priority", "show")["rules"]


def test_what_show_prints_set_takes(engine: Engine) -> None:
    printed = ok("priority", "show", "--json")
    assert json.loads(printed)["otherwise"] == DOCUMENT["otherwise"]
    assert "no change" in ok("priority", "set", "-", stdin=printed)
    assert json.loads(ok("priority", "show", "--json")) == json.loads(printed)


def test_a_policy_is_shown_as_tables(low: str) -> None:
    shown = ok("priority", "show")
    assert "version 0, live, by tiercel" in shown
    assert "bulk re-syncs wait" in shown
    assert "urgency" in shown
    ok("priority", "set", low, "--note", "cheap prices")
    shown = ok("priority", "show")
    assert "version 1, live since" in shown
    assert "cheap prices" in shown
    assert "matrix" not in shown
    assert "bulk re-syncs wait" in ok("priority", "show", "--version", "0")


def test_a_dry_run_sets_nothing(low: str, inbox: Inbox) -> None:
    said = ok("priority", "set", low, "--dry-run")
    assert "/rules/it" in said
    assert "nothing is set: a dry run" in said
    ok("priority", "set", low)
    assert "nothing is set" in ok("priority", "rollback", "--dry-run")
    assert inbox.sql("SELECT count(*) FROM priority_policy") == [(1,)]
    assert from_json("priority", "set", low, "--dry-run") == {"version": None, "diff": []}
    assert from_json("priority", "rollback", "--dry-run")["version"] is None


def test_setting_and_rolling_back_are_one_command_each_and_in_the_history(low: str) -> None:
    assert from_json("priority", "set", low, "--if-version", "0")["version"] == 1
    assert live_rules()[0]["lane"] == "low"
    assert "version 2 is live: back to 0" in ok("priority", "rollback")
    assert len(live_rules()) == len(DOCUMENT["rules"])
    assert from_json("priority", "rollback", "--to", "1")["version"] == 3
    changes = from_json("priority", "history")
    assert [(one["action"], one["version"], one["was"]) for one in changes] == [
        ("rolled back", 3, 2),
        ("rolled back", 2, 1),
        ("set", 1, 0),
    ]
    assert changes[0]["author"].startswith("cli")
    assert "rolled back" in ok("priority", "history", "--limit", "1")


def test_setting_upon_another_version_changes_nothing(low: str) -> None:
    assert "version 0 is live, not 4" in refused("priority", "set", low, "--if-version", "4")
    assert len(live_rules()) == len(DOCUMENT["rules"])


def test_a_policy_that_cannot_be_is_one_line(engine: Engine) -> None:
    assert "/otherwise" in refused("priority", "set", "-", stdin='{"rules": []}')
    assert "isn't JSON" in refused("priority", "set", "-", stdin="rules", code=2)
    assert "either FILE, or --candidate" in refused("priority", "set", code=2)
    assert "no priority policy 9" in refused("priority", "show", "--version", "9")
    assert "either --version" in refused("priority", "show", "--version", "0", "--candidate", code=2)
    assert "nothing to roll back" in refused("priority", "rollback")
    assert "no candidate" in refused("priority", "set", "--candidate")
    assert "a text of at most" in refused("priority", "rollback", "--note", "x" * 501, code=2)


def test_an_event_is_explained(low: str, inbox: Inbox) -> None:
    event_id = str(inbox.accept(incoming("campaign.started", data={"id": "1"}))[0].id)
    said = ok("priority", "explain", event_id)
    assert said.startswith("high, priority 9: starts and stops of promotions are urgent; score 100")
    assert "entity_type" in said  # what the rules before were missed by
    assert "score 100" in said
    assert from_json("priority", "explain", event_id)["stored"]["lane"] == "high"
    made_up = '{"type": "price.updated", "data": {"amount": 1.50}}'
    assert from_json("priority", "explain", "--event", made_up)["rule"] == "prices are urgent"
    assert from_json("priority", "explain", "--event", made_up, "--policy", low)["lane"] == "low"
    ok("priority", "shadow", low)
    assert from_json("priority", "explain", "--event", made_up, "--candidate")["rule"] == "it"
    assert from_json("priority", "explain", "--event", made_up, "--version", "1")["rule"] == "it"
    assert "no event" in refused("priority", "explain", str(uuid.uuid4())).lower()
    assert "either ID, or --event" in refused("priority", "explain", code=2)
    assert "only one option" in refused("priority", "explain", "--event", "-", "--policy", "-", code=2)


def test_a_candidate_is_tried_and_then_set(low: str, inbox: Inbox) -> None:
    assert "version 1 runs in shadow: 0 of 0" in ok("priority", "shadow", low)
    with pipelined_transaction(inbox.engine) as session:
        shadow.add(session, {(1, 0, Lane.HIGH, Lane.LOW, "it"): 3, (1, 0, Lane.LOW, Lane.LOW, "it"): 1})
    assert "3 of 4 events otherwise" in ok("priority", "shadow")
    counted = from_json("priority", "shadow")
    assert counted["disagreements"][0]["rule"] == "it"
    assert json.loads(ok("priority", "show", "--candidate", "--json"))["rules"][0]["lane"] == "low"
    assert from_json("priority", "set", "--candidate", "--if-version", "0")["version"] == 1
    assert live_rules()[0]["lane"] == "low"
    assert "no candidate" in refused("priority", "shadow")


def test_a_candidate_is_taken_away(low: str) -> None:
    ok("priority", "shadow", low)
    assert "version 1 is taken away" in ok("priority", "shadow", "--stop")
    assert "no candidate" in refused("priority", "shadow", "--stop")
    assert "either FILE or --stop" in refused("priority", "shadow", low, "--stop", code=2)


def test_a_backtest_shows_where_events_would_have_gone(low: str, inbox: Inbox) -> None:
    inbox.accept(incoming("price.updated"), incoming("segment.updated", "s"))
    found = from_json("priority", "backtest", low, "--days", "0.5", "--drain", "low=4", "--drain", "HIGH=2")
    assert (found["events"], found["moved"]) == (2, 1)
    assert found["waiting_model"]["low"]["drain_per_s"] == 4.0
    said = ok("priority", "backtest", low)
    assert "2 events from" in said
    assert "1 would have gone to another lane" in said
    assert "price.updated" in said
    ok("priority", "shadow", low)
    assert from_json("priority", "backtest", "--candidate")["moved"] == 1
    assert "either FILE, or --candidate" in refused("priority", "backtest", code=2)


@pytest.mark.parametrize("drain", ["high", "urgent=3", "high=x", "high=0", "high=inf", "high=nan"])
def test_a_drain_is_a_lane_and_a_number(low: str, drain: str) -> None:
    refused("priority", "backtest", low, "--drain", drain, code=2)
