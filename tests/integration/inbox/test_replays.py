"""Replays of history: counted first, run once, throttled, behind live work, and never against the version gate."""

import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select
from werkzeug.test import TestResponse

from app.db.engine import transaction
from app.db.pipeline import pipelined_transaction
from app.dispatcher.loop import Dispatcher
from app.errors import FieldInvalid
from app.events.canonical_json import dump, parse, resolve
from app.events.incoming import Incoming, Operation
from app.handlers.version_gate import Position, State, Verdict, judge
from app.inbox import replays
from app.inbox.read import EventFilter
from app.inbox.replays import Forecast, ReplayDiffers
from app.messaging.pointer import Pointer
from app.models import Entity, Event, Fact, Lane, ReplayState, Scope, Status
from app.resources import Resources
from app.security import api_keys
from app.web.factory import create_app
from config.settings import Settings
from tasks.process import process
from tests.support.cli_run import from_json, ok, refused, run
from tests.support.factories import Inbox, incoming
from tests.support.ordered_events import build
from tests.support.queues import Queues

ALL = EventFilter(source="shop")
_FATES = {
    Verdict.WRITE: "apply",
    Verdict.ADVANCE: "apply",
    Verdict.SAME: "duplicate",
    Verdict.STALE: "stale",
    Verdict.TOMBSTONED: "tombstoned",
}


def applied(resources: Resources, inbox: Inbox, *events: Incoming) -> list[uuid.UUID]:
    ids = [stored.id for event in events for stored in inbox.accept(event)]
    for event_id in ids:
        process(resources, [Pointer(event_id, 0)])
    return ids


def ask(inbox: Inbox, wanted: EventFilter = ALL, replay_id: uuid.UUID | None = None, per_s: int = 100) -> uuid.UUID:
    with transaction(inbox.engine) as session:
        return replays.ask(session, replay_id or uuid.uuid4(), wanted, per_s=per_s, by="a test").id


def release(resources: Resources) -> int:
    with pipelined_transaction(resources.engine) as session:
        return replays.release(session)


def forecast(inbox: Inbox, wanted: EventFilter = ALL) -> Forecast:
    with transaction(inbox.engine) as session:
        return replays.forecast(session, wanted)


def finish(resources: Resources, inbox: Inbox) -> None:
    while waiting := inbox.sql("SELECT id FROM event WHERE status = 0"):
        for (event_id,) in waiting:
            process(resources, [Pointer(event_id, 0)])


HISTORY = st.lists(
    st.tuples(
        st.builds(
            build,
            st.integers(0, 1),
            st.sampled_from(["created", "updated", "updated", "deleted", "paid"]),
            st.one_of(st.integers(1, 3), st.none()),
            st.integers(0, 1),
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def judged(inbox: Inbox) -> Counter[str]:
    """Return what the gate itself says of every ended event, against what stands now."""
    with transaction(inbox.engine) as session:
        events = session.scalars(select(Event)).all()
        standing = {(e.entity_type, e.entity_id): e for e in session.scalars(select(Entity))}
        facts = set(session.scalars(select(Fact.event_id)))
    fates: Counter[str] = Counter()
    newest_first = sorted(events, key=lambda e: (e.final, position(e)), reverse=True)
    seen: set[tuple[str, str]] = set()
    for event in newest_first:
        key = (event.entity_type, event.entity_id)
        stands = standing.get(key)
        current = None if stands is None else State(position(stands), stands.final, stands.data)
        deleted = event.operation is Operation.DELETE
        data = None if deleted else dump(resolve(parse(event.payload.encode()), event.data_pointer)).decode()
        verdict = judge(current, State(position(event), event.final, data))
        fate = _FATES[verdict]
        if event.fact and event.id not in facts:
            fate = "apply"
        elif fate == "apply" and key in seen:
            fate = "stale"
        seen.add(key)
        fates[fate] += 1
    return fates


def position(one: Event | Entity) -> Position:
    return Position(one.version, one.sequence, one.operation, one.fingerprint)


@hypothesis_settings(max_examples=25)
@given(history=HISTORY)
def test_a_dry_run_judges_as_the_gate_does(
    inbox: Inbox, resources: Resources, history: list[tuple[Incoming, bool]]
) -> None:
    inbox.sql("TRUNCATE event, event_key, entity, fact, price, replay")
    # Given events of which some were applied and some died
    for event, died in history:
        (stored,) = inbox.accept(event)
        if died:
            inbox.sql("UPDATE event SET status = 3, outcome = 7, finished_at = now() WHERE id = :id", id=stored.id)
        else:
            process(resources, [Pointer(stored.id, 0)])
    finish(resources, inbox)
    rows = inbox.sql("SELECT entity_type, entity_id, version FROM entity")
    told = forecast(inbox)
    said = Counter(apply=told.apply, stale=told.stale, duplicate=told.duplicate, tombstoned=told.tombstoned)
    assert +said == judged(inbox)
    # And when all of them are replayed, nothing goes back
    ask(inbox)
    assert release(resources) == told.count
    finish(resources, inbox)
    versions = {(row[0], row[1]): row[2] for row in inbox.sql("SELECT entity_type, entity_id, version FROM entity")}
    finals = {row[0:2] for row in inbox.sql("SELECT entity_type, entity_id FROM entity WHERE final")}
    assert all(versions[noun, name] >= version or (noun, name) in finals for noun, name, version in rows)


def test_a_replay_undoes_nothing_and_resurrects_nothing(inbox: Inbox, resources: Resources) -> None:
    applied(resources, inbox, incoming(version=1), incoming(version=2, data={"n": 2}))
    applied(resources, inbox, incoming(entity_id="gone", version=1), incoming("price.deleted", "gone", 2))
    ask(inbox)
    assert release(resources) == 4
    finish(resources, inbox)
    assert inbox.data() == '{"n":2}'
    assert inbox.data("gone") is None


def test_under_one_id_nothing_is_replayed_twice(inbox: Inbox, resources: Resources) -> None:
    applied(resources, inbox, incoming())
    replay_id = ask(inbox)
    assert release(resources) == 1
    finish(resources, inbox)
    assert ask(inbox, replay_id=replay_id) == replay_id
    assert release(resources) == 0
    with pytest.raises(ReplayDiffers):
        ask(inbox, EventFilter(lane=Lane.HIGH), replay_id)


def test_a_replay_is_throttled_and_goes_on_where_it_stopped(inbox: Inbox, resources: Resources) -> None:
    ids = applied(resources, inbox, *(incoming(entity_id=str(number)) for number in range(5)))
    replay_id = ask(inbox, per_s=2)
    released: list[int] = []
    for _ in range(4):
        released.append(release(resources))
        finish(resources, inbox)
    assert released == [2, 2, 1, 0]
    with transaction(inbox.engine) as session:
        done = replays.find(session, replay_id)
    assert (done.state, done.replayed, done.matching) == (ReplayState.DONE, 5, 5)
    histories = [[entry["step"] for entry in inbox.event(event_id).history] for event_id in ids]
    assert histories == [["finished", "replayed"]] * 5


def test_a_replay_waits_for_what_it_released_before(inbox: Inbox, resources: Resources) -> None:
    applied(resources, inbox, *(incoming(entity_id=str(number)) for number in range(5)))
    ask(inbox, per_s=2)
    assert release(resources) == 2
    inbox.sql("UPDATE event SET dispatched_at = now() WHERE status = 0")
    assert release(resources) == 0


def test_history_runs_in_the_low_lane_and_only_while_nothing_live_waits(
    inbox: Inbox, resources: Resources, queues: Queues
) -> None:
    (old,) = applied(resources, inbox, incoming(entity_id="old"))
    ask(inbox)
    dispatcher = Dispatcher(resources)
    # Given more live events than the window holds
    inbox.sql("UPDATE lane SET open = false")
    for group in range(3):
        inbox.accept(*(incoming(entity_id=f"{group}-{number}") for number in range(100)))
    dispatcher.step()
    assert inbox.event(old).status is Status.COMPLETED
    # When they are done
    inbox.sql("UPDATE event SET status = 2, outcome = 1, finished_at = now() - interval '1 h' WHERE status = 0")
    dispatcher._pulse_at = 0
    dispatcher.step()
    dispatcher.step()
    replayed = inbox.event(old)
    assert (replayed.status, replayed.lane, replayed.priority) == (Status.PENDING, Lane.LOW, 0)
    assert replayed.history[-1]["lane before"] == "high"
    assert (str(old), 0) in queues.take(Lane.LOW)


def test_what_waits_runs_or_is_quarantined_takes_no_part(inbox: Inbox, resources: Resources) -> None:
    for entity_id, status, outcome in (("a", 0, None), ("b", 1, None), ("c", 3, 8), ("d", 3, 7)):
        (stored,) = inbox.accept(incoming(entity_id=entity_id))
        sql = "UPDATE event SET status = :status, outcome = :outcome WHERE id = :id"
        inbox.sql(sql, id=stored.id, status=status, outcome=outcome)
    assert forecast(inbox).count == 1
    ask(inbox)
    assert release(resources) == 1


def test_a_stopped_replay_releases_nothing_more(inbox: Inbox, resources: Resources) -> None:
    applied(resources, inbox, incoming(), incoming(entity_id="other"))
    replay_id = ask(inbox, per_s=1)
    assert release(resources) == 1
    with transaction(inbox.engine) as session:
        replays.stop(session, replay_id)
    finish(resources, inbox)
    assert release(resources) == 0


def test_a_filter_that_names_nothing_is_refused(inbox: Inbox) -> None:
    with pytest.raises(FieldInvalid):
        forecast(inbox, EventFilter())


class Desk:
    def __init__(self, client: FlaskClient, key: str) -> None:
        self.client, self.headers = client, {"Authorization": f"Bearer {key}"}

    def send(self, method: str, path: str, body: Any = None) -> TestResponse:
        return self.client.open(path, method=method, json=body, headers=self.headers)


@pytest.fixture
def desk(settings: Settings, inbox: Inbox) -> Iterator[Desk]:
    made = create_app(settings)
    with transaction(inbox.engine) as session:
        key = api_keys.create(session, inbox.vault, "ops", Scope.WRITE)
    yield Desk(made.test_client(), key)
    made.extensions["receiver"].close()


def test_the_desk_counts_first_and_then_replays(inbox: Inbox, resources: Resources, desk: Desk) -> None:
    applied(resources, inbox, incoming(version=1), incoming(version=2))
    dry = desk.send("POST", "/v1/replays", {"filter": {"source": "shop"}, "dry_run": True})
    fates = {"apply": 0, "stale": 1, "duplicate": 1, "tombstoned": 0}
    assert (dry.status_code, dry.json) == (200, {"dry_run": True, "count": 2, "would": fates})
    replay_id = str(uuid.uuid4())
    body = {"filter": {"source": "shop", "since": "2020-01-01T00:00:00Z"}, "id": replay_id, "per_s": 7}
    for _ in range(2):
        asked = desk.send("POST", "/v1/replays", body)
        assert asked.status_code == 202, asked.text
        assert asked.json is not None
        assert (asked.json["id"], asked.json["count"], asked.json["per_s"]) == (replay_id, 2, 7)
        assert asked.json["requested_by"] == "key ops"
    listed = desk.send("GET", "/v1/replays").json
    assert listed is not None
    assert [one["id"] for one in listed["items"]] == [replay_id]
    stopped = desk.send("DELETE", f"/v1/replays/{replay_id}").json
    assert stopped == desk.send("GET", f"/v1/replays/{replay_id}").json
    assert stopped is not None
    assert (stopped["state"], stopped["filter"]["since"]) == ("stopped", "2020-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"filter": {}}, 400),
        ({"filter": {"colour": "red"}}, 400),
        ({"filter": {"lane": "fast"}}, 400),
        ({"filter": {"source": "a\x00b"}}, 400),
        ({"filter": {"source": "shop"}, "per_s": 0}, 400),
        ({"filter": {"source": "shop"}, "id": "seven"}, 400),
        ({"filter": {"source": "shop"}, "dry": True}, 400),
        (["no object"], 400),
    ],
)
def test_a_body_that_cannot_be_is_refused(desk: Desk, body: Any, status: int) -> None:
    assert desk.send("POST", "/v1/replays", body).status_code == status


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("name", ["seven", "0199f0c1-7d1e-7a90-b6b7-0f2f6a3a9f11"])
def test_an_unknown_replay_is_404(desk: Desk, method: str, name: str) -> None:
    assert desk.send(method, f"/v1/replays/{name}").status_code == 404


def test_another_filter_under_the_same_id_is_409(desk: Desk) -> None:
    replay_id = str(uuid.uuid4())
    assert desk.send("POST", "/v1/replays", {"filter": {"lane": "low"}, "id": replay_id}).status_code == 202
    assert desk.send("POST", "/v1/replays", {"filter": {"lane": "high"}, "id": replay_id}).status_code == 409


def test_the_command_counts_first_and_asks(inbox: Inbox, resources: Resources) -> None:
    applied(resources, inbox, incoming())
    assert ok("events", "replay", "--source", "shop", "--dry-run").startswith("1 ended events match")
    assert from_json("events", "replay", "--source", "shop", "--dry-run")["would"]["duplicate"] == 1
    assert "--yes" in run("events", "replay", "--source", "shop").stderr
    assert "is running" in ok("events", "replay", "--source", "shop", "--yes")
    replay_id = str(uuid.uuid4())
    words = ("events", "replay", "--source", "shop", "--yes", "--replay-id", replay_id, "--per-second", "3")
    assert from_json(*words)["per_s"] == 3
    assert from_json("events", "replays")[0]["id"] == replay_id
    assert "stopped" in ok("events", "replays", "--stop", replay_id)
    assert ok("events", "replay", "--type", "nothing.ever").startswith("0 ended")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("00000000-0000-7000-8000-000000000000", "--source", "shop"),
        ("00000000-0000-7000-8000-000000000000", "--dry-run"),
    ],
)
def test_it_is_one_event_or_a_filter(inbox: Inbox, words: tuple[str, ...]) -> None:
    refused("events", "replay", *words, code=2)
