"""Re-prioritising: what waits gets another lane; its old pointer does nothing, and nothing runs twice or is lost."""

import threading
import uuid
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.db.engine import transaction
from app.dispatcher.loop import Dispatcher
from app.errors import FieldInvalid
from app.inbox.reprioritise import Move, NotWaiting, Selection, reprioritise, reprioritise_all
from app.messaging.pointer import Pointer
from app.models import Lane, Outcome, Scope, Status
from app.resources import Resources
from app.security import api_keys
from tasks.process import process
from tests.support.cli_run import from_json, ok, refused
from tests.support.factories import Inbox, incoming
from tests.support.queues import Queues
from tests.support.waiting import wait_until

HIGH = Move(Lane.HIGH, by="a test", why="the flash sale")


def move_all(inbox: Inbox, move: Move = HIGH, most: int = 10**9, **filters: Any) -> int:
    moved = 0
    for moved in reprioritise_all(lambda: transaction(inbox.engine), Selection(**filters), move, most):  # noqa: B007
        pass
    return moved


def lanes(inbox: Inbox) -> dict[str, int]:
    return dict(inbox.sql("SELECT entity_id, lane FROM event ORDER BY entity_id"))


def test_a_moved_event_runs_from_its_new_lane_and_its_old_pointer_does_nothing(
    inbox: Inbox, resources: Resources, queues: Queues
) -> None:
    # Given an event that was published to low
    old = inbox.pointer(incoming("log.written"))
    # When it is moved to high
    with transaction(inbox.engine) as session:
        assert reprioritise(session, old.event_id, HIGH)
    # Then the old pointer does nothing, and the dispatcher publishes a new one to high
    process(resources, [old])
    assert inbox.event(old.event_id).status is Status.PENDING
    Dispatcher(resources).step()
    assert queues.take(Lane.LOW) == []
    assert queues.take(Lane.HIGH) == [(str(old.event_id), 1)]
    process(resources, [Pointer(old.event_id, 1), old])
    event = inbox.event(old.event_id)
    assert (event.outcome, event.attempts) == (Outcome.APPLIED, 1)


def test_a_move_is_kept_on_the_events_timeline(inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming("log.written"))
    move_all(inbox, Move(Lane.MEDIUM, by="Ada", why="because", priority=7), ids=(pointer.event_id,))
    event = inbox.event(pointer.event_id)
    (entry,) = event.history
    assert entry.pop("at")
    told = {"by": "Ada", "why": "because", "from": "low", "to": "medium", "priority": 7}
    assert entry == {"step": "reprioritised", **told}
    assert (event.lane, event.priority, event.generation) == (Lane.MEDIUM, 7, 1)


def test_an_event_that_is_there_already_keeps_its_generation(inbox: Inbox) -> None:
    pointer = inbox.pointer(incoming())
    with transaction(inbox.engine) as session:
        assert not reprioritise(session, pointer.event_id, HIGH)
    assert inbox.event(pointer.event_id).generation == 0


def test_a_running_or_ended_event_is_not_moved(inbox: Inbox, resources: Resources) -> None:
    ended, running = inbox.pointer(incoming("log.written", "a")), inbox.pointer(incoming("log.written", "b"))
    process(resources, [ended])
    inbox.sql("UPDATE event SET status = 1 WHERE id = :id", id=running.event_id)
    for pointer in (ended, running):
        with pytest.raises(NotWaiting), transaction(inbox.engine) as session:
            reprioritise(session, pointer.event_id, HIGH)
    assert move_all(inbox, source="shop") == 0


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"source": "shop"}, {"a", "b", "c"}),
    ({"source": "nobody"}, set()),
    ({"type": "log.written"}, {"a"}),
    ({"entity_type": "segment"}, {"b", "c"}),
    ({"entity_id": "b"}, {"b"}),
    ({"campaign": "summer"}, {"c"}),
    ({"lane": Lane.LOW}, {"a"}),
    ({"lane": Lane.MEDIUM, "entity_id": "a"}, set()),
]


@pytest.mark.parametrize(("wanted", "moved"), FILTERS, ids=lambda value: "".join(sorted(map(str, value))) or "nobody")
def test_each_filter_moves_what_it_names(inbox: Inbox, wanted: dict[str, Any], moved: set[str]) -> None:
    inbox.accept(
        incoming("log.written", "a"),
        incoming("segment.updated", "b"),
        incoming("segment.updated", "c", data={"campaign_id": "summer"}),
    )
    assert move_all(inbox, **wanted) == len(moved)
    assert {entity_id for entity_id, lane in lanes(inbox).items() if lane == Lane.HIGH} == moved


def test_since_and_until_are_when_it_was_received(inbox: Inbox) -> None:
    for number in (1_000, 2_000, 3_000):
        inbox.accept(incoming("log.written", str(number)), received_at=float(number))
    times = {number: inbox.sql("SELECT to_timestamp(:n)", n=number)[0][0] for number in (2_000, 3_000)}
    assert move_all(inbox, since=times[2_000], until=times[3_000]) == 1
    assert lanes(inbox) == {"1000": Lane.LOW, "2000": Lane.HIGH, "3000": Lane.LOW}


def test_an_empty_filter_is_refused(inbox: Inbox) -> None:
    with pytest.raises(FieldInvalid, match="empty"):
        move_all(inbox)


def test_thousands_move_in_batches_and_each_keeps_its_place(inbox: Inbox) -> None:
    inbox.sql("UPDATE lane SET open = false")
    inbox.accept(*(incoming("log.written", str(number)) for number in range(1_200)))
    seen = list(reprioritise_all(lambda: transaction(inbox.engine), Selection(source="shop"), HIGH, 10**9))
    assert seen == [100, 1_100, 1_200]
    assert inbox.sql("SELECT DISTINCT lane, generation FROM event") == [(0, 1)]
    assert move_all(inbox, Move(Lane.LOW, by="a test"), most=700, source="shop") == 700


def test_what_another_has_locked_for_a_moment_is_moved_all_the_same(inbox: Inbox) -> None:
    ids = [inbox.pointer(incoming("log.written", str(number))).event_id for number in range(3)]
    with Session(inbox.engine) as other:
        # However long the move takes to give up, this one keeps its lock.
        other.connection().exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        other.connection().exec_driver_sql(f"SELECT 1 FROM event WHERE id = '{ids[1]}' FOR UPDATE")
        moved: list[int] = []
        thread = threading.Thread(target=lambda: moved.append(move_all(inbox, ids=tuple(ids))))
        thread.start()
        wait_until(lambda: sorted(lanes(inbox).values()) == [0, 0, 2])
        other.rollback()
    thread.join()
    assert moved == [3]


def test_what_stays_locked_is_left(inbox: Inbox) -> None:
    ids = [inbox.pointer(incoming("log.written", str(number))).event_id for number in range(2)]
    with Session(inbox.engine) as other:
        # However long the move takes to give up, this one keeps its lock.
        other.connection().exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        other.connection().exec_driver_sql(f"SELECT 1 FROM event WHERE id = '{ids[1]}' FOR UPDATE")
        assert move_all(inbox, ids=tuple(ids)) == 1


class Desk:
    """A client with a key that may write."""

    def __init__(self, flask_app: Flask, inbox: Inbox, scope: Scope = Scope.WRITE) -> None:
        self.client = flask_app.test_client()
        with transaction(inbox.engine) as session:
            self.key = api_keys.create(session, inbox.vault, "marketing", scope)

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        response = self.client.post(path, json=body, headers=headers)
        assert response.status_code == status, response.text
        return response.json


def test_the_desk_moves_one_event_and_says_who_did(flask_app: Flask, inbox: Inbox, resources: Resources) -> None:
    desk, pointer = Desk(flask_app, inbox), inbox.pointer(incoming("log.written"))
    path = f"/v1/events/{pointer.event_id}/priority"
    assert desk.post(path, {"lane": "high", "reason": "it matters"})["lane"] == "high"
    (entry,) = inbox.event(pointer.event_id).history
    assert (entry["by"], entry["why"]) == ("marketing", "it matters")
    process(resources, [Pointer(pointer.event_id, 1)])
    assert desk.post(path, {"lane": "low"}, 409)["type"] == "/docs/problems#not-waiting"
    assert desk.post(f"/v1/events/{uuid.uuid4()}/priority", {"lane": "low"}, 404)
    assert desk.post("/v1/events/1/priority", {"lane": "low"}, 404)


def test_the_desk_counts_before_it_moves(flask_app: Flask, inbox: Inbox) -> None:
    desk = Desk(flask_app, inbox)
    inbox.accept(incoming("log.written", "a"), incoming("segment.updated", "b"))
    body = {"filter": {"source": "shop"}, "lane": "high"}
    counted = desk.post("/v1/reprioritisations", {**body, "dry_run": True})
    assert counted == {"dry_run": True, "count": 2, "from": {"high": 0, "medium": 1, "low": 1}}
    assert lanes(inbox) == {"a": Lane.LOW, "b": Lane.MEDIUM}
    assert desk.post("/v1/reprioritisations", body) == {"dry_run": False, "count": 2, "left": 0}
    assert lanes(inbox) == {"a": Lane.HIGH, "b": Lane.HIGH}


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"lane": "high"},
        {"lane": "high", "filter": {}},
        {"lane": "urgent", "filter": {"source": "shop"}},
        {"lane": "high", "filter": {"source": "shop"}, "dry_run": "yes"},
        {"lane": "high", "filter": {"colour": "red"}},
        {"lane": "high", "filter": {"source": "a\x00b"}},
        {"lane": "high", "filter": {"ids": ["1"]}},
        {"lane": "high", "filter": {"since": "2026-01-01T00:00:00"}},
        {"lane": "high", "filter": {"source": "shop"}, "priority": 10},
    ],
)
def test_what_is_not_a_reprioritisation_is_400(flask_app: Flask, inbox: Inbox, body: Any) -> None:
    inbox.accept(incoming("log.written", "a"))
    assert Desk(flask_app, inbox).post("/v1/reprioritisations", body, 400)["type"] == "/docs/problems#field-invalid"
    assert lanes(inbox) == {"a": Lane.LOW}


def test_a_body_that_is_not_json_is_400_and_a_reading_key_moves_nothing(flask_app: Flask, inbox: Inbox) -> None:
    desk = Desk(flask_app, inbox)
    answer = desk.client.post("/v1/reprioritisations", data=b"{", headers={"Authorization": f"Bearer {desk.key}"})
    assert answer.status_code == 415
    headers = {"Authorization": f"Bearer {desk.key}", "Content-Type": "application/json"}
    assert desk.client.post("/v1/reprioritisations", data=b"{", headers=headers).status_code == 400
    reader = Desk(flask_app, inbox, Scope.READ)
    assert reader.post("/v1/reprioritisations", {"lane": "high", "filter": {"source": "shop"}}, 403)
    assert desk.client.post("/v1/reprioritisations", json={}).status_code == 401


def test_the_command_counts_first_and_moves_when_told_yes(inbox: Inbox) -> None:
    inbox.accept(incoming("log.written", "a"), incoming("segment.updated", "b"))
    words = ("reprioritise", "high", "--source", "shop")
    assert ok(*words, "--dry-run") == "2 events would move to high (1 from medium, 1 from low)\n"
    assert from_json(*words, "--dry-run", "--from", "low")["count"] == 1
    assert "2 events would move" in refused(*words, code=2)
    assert lanes(inbox) == {"a": Lane.LOW, "b": Lane.MEDIUM}
    assert from_json(*words, "--yes", "--reason", "sale", "--type", "log.written") == {"dry_run": False, "count": 1}
    assert ok(*words, "--yes") == "1 events wait in high now\n"
    assert "filter is empty" in refused("reprioritise", "high", "--yes")


def test_a_source_gets_another_weight(inbox: Inbox) -> None:
    assert from_json("sources", "weight", "shop", "3")["weight"] == 3
    assert inbox.sql("SELECT weight, revision FROM source") == [(3, inbox.source.revision)]
    refused("sources", "weight", "shop", "0", code=2)
    refused("sources", "weight", "nobody", "2")
