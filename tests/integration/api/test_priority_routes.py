"""The desk: reading, setting and asking the priority policy."""

import uuid
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.db.engine import transaction
from app.models import Lane, Scope
from app.priority.default import DOCUMENT
from app.priority.stored import shadow, versions
from app.security import api_keys
from tests.support.factories import Inbox, incoming
from tests.support.policies import document, policy, sending

PATH = "/v1/priority/policy"
LOW = document(sending("price", "low"))


class Desk:
    """A client with a key."""

    def __init__(self, flask_app: Flask, inbox: Inbox, scope: Scope) -> None:
        self.client = flask_app.test_client()
        with transaction(inbox.engine) as session:
            self.key = api_keys.create(session, inbox.vault, "ops", scope)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        sent = {"Authorization": f"Bearer {self.key}", **{name.replace("_", "-"): v for name, v in headers.items()}}
        return self.client.open(path, method=method, json=body, headers=sent)

    def get(self, path: str = PATH) -> Any:
        response = self.call("GET", path)
        assert response.status_code == 200, response.text
        return response.json

    def put(self, body: Any, **headers: str) -> Any:
        response = self.call("PUT", PATH, body, **headers)
        assert response.status_code == 200, response.text
        return response.json

    def explain(self, **body: Any) -> Any:
        response = self.call("POST", "/v1/priority/explain", body)
        assert response.status_code == 200, response.text
        return response.json


@pytest.fixture
def admin(flask_app: Flask, inbox: Inbox) -> Desk:
    return Desk(flask_app, inbox, Scope.ADMIN)


def problem(response: TestResponse) -> tuple[int, str]:
    assert response.content_type == "application/problem+json"
    assert response.json is not None
    return response.status_code, response.json["type"].rpartition("#")[2]


def test_what_was_got_can_be_put_back(admin: Desk) -> None:
    got = admin.get()
    assert (got["version"], got["state"], got["author"], got["candidate"]) == (0, "live", "tiercel", None)
    assert len(got["policy"]["rules"]) == len(DOCUMENT["rules"])
    got["policy"]["otherwise"]["priority"] = 4
    put = admin.put({**got, "note": "slower"})
    assert (put["version"], put["author"], put["note"]) == (1, "key:ops#1", "slower")
    again = admin.get()
    assert again == put
    assert again["policy"]["otherwise"]["priority"] == 4
    assert admin.call("PUT", PATH, again).headers["ETag"] == '"2"'


def test_a_bare_policy_is_put_upon_the_version_of_if_match(admin: Desk) -> None:
    assert admin.put(LOW, If_Match='"0"')["version"] == 1
    assert admin.put({**LOW, "version": 1})["version"] == 2
    assert admin.put(LOW, If_Match="*")["version"] == 3
    assert admin.put({"policy": LOW}, If_Match='W/"3"')["version"] == 4
    assert admin.get(f"{PATH}?version=1")["policy"]["rules"] == admin.get()["policy"]["rules"]
    assert admin.get(f"{PATH}?version=0")["state"] == "retired"


def test_a_policy_upon_another_version_is_412_and_upon_none_428(admin: Desk, inbox: Inbox) -> None:
    admin.put(LOW, If_Match='"0"')
    assert problem(admin.call("PUT", PATH, LOW, If_Match='"0"')) == (412, "policy-changed")
    assert problem(admin.call("PUT", PATH, {"policy": LOW, "version": 0})) == (412, "policy-changed")
    assert problem(admin.call("PUT", PATH, LOW)) == (428, "version-missing")
    assert inbox.sql("SELECT count(*) FROM priority_policy") == [(1,)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"rules": [], "version": 0}, "/otherwise"),
        ({"policy": {**LOW, "more": 1}, "version": 0}, "/more"),
        ({"policy": 5, "version": 0}, "the policy"),
        ({"policy": LOW, "version": 0, "owner": "me"}, "no such field: owner"),
        ({"policy": LOW, "version": "0"}, "version is a number"),
        ({"policy": LOW, "version": True}, "version is a number"),
        ({"policy": LOW, "version": 0, "state": "retired"}, "state is"),
        ({"policy": LOW, "version": 0, "note": 5}, "note is"),
        ({"policy": LOW, "version": 0, "note": "x" * 501}, "note is"),
        ([], "must be a JSON object"),
    ],
)
def test_what_cannot_be_put_is_400_and_says_why(admin: Desk, body: Any, said: str) -> None:
    response = admin.call("PUT", PATH, body)
    assert response.status_code == 400
    assert response.json is not None
    assert said in response.json["detail"]
    assert admin.get()["version"] == 0


@pytest.mark.parametrize("tag", ['"x"', "-1", '"99999999999"', "“1”"])
def test_an_if_match_that_is_no_version_is_400(admin: Desk, tag: str) -> None:
    header = tag.encode().decode("latin-1")
    assert problem(admin.call("PUT", PATH, LOW, If_Match=header)) == (400, "field-invalid")


def test_a_candidate_is_put_beside_the_live_policy_and_shown_with_its_counts(admin: Desk, inbox: Inbox) -> None:
    put = admin.put({"policy": LOW, "state": "candidate"})
    assert (put["version"], put["state"]) == (1, "candidate")

    with transaction(inbox.engine) as session:
        shadow.add(session, {(1, 0, Lane.HIGH, Lane.LOW, "it"): 3, (1, 0, Lane.LOW, Lane.LOW, "it"): 4})
    got = admin.get()
    assert got["version"] == 0
    assert got["candidate"] == {
        "version": 1,
        "compared": 7,
        "disagreed": 3,
        "disagreements": [{"against": 0, "live": "high", "candidate": "low", "rule": "it", "events": 3}],
    }
    assert admin.get(f"{PATH}?version=candidate")["policy"]["rules"][0]["lane"] == "low"


def test_versions_that_are_not_there_are_404_and_other_words_400(admin: Desk) -> None:
    assert problem(admin.call("GET", f"{PATH}?version=7")) == (404, "policy-unknown")
    assert problem(admin.call("GET", f"{PATH}?version=candidate")) == (404, "no-candidate")
    assert problem(admin.call("GET", f"{PATH}?version=newest")) == (400, "field-invalid")
    assert problem(admin.call("GET", f"{PATH}?state=live")) == (400, "field-invalid")


@pytest.mark.parametrize(
    ("scope", "method", "path", "status"),
    [
        (Scope.READ, "GET", PATH, 200),
        (Scope.READ, "POST", "/v1/priority/explain", 200),
        (Scope.READ, "PUT", PATH, 403),
        (Scope.WRITE, "PUT", PATH, 403),
        (Scope.ADMIN, "PUT", PATH, 200),
    ],
)
def test_reading_asks_for_read_and_setting_for_admin(
    flask_app: Flask, inbox: Inbox, scope: Scope, method: str, path: str, status: int
) -> None:
    body = {"event": {"type": "price.updated"}} if method == "POST" else LOW
    desk = Desk(flask_app, inbox, scope)
    assert desk.call(method, path, body if method != "GET" else None, If_Match="*").status_code == status
    assert flask_app.test_client().open(path, method=method, json=body).status_code == 401


def test_a_stored_event_is_explained_as_it_arrived_and_under_other_policies(admin: Desk, inbox: Inbox) -> None:
    stored = inbox.accept(
        incoming("campaign.updated", data={"id": "1", "starts_at": 1_790_000_060}), received_at=1.79e9
    )
    event_id = str(stored[0].id)
    now = admin.explain(event_id=event_id)
    assert (now["lane"], now["score"], now["policy"]) == ("high", 90, 0)
    # The made-up inbox has no clock, so urgency didn't count when this one was stored.
    assert now["stored"] == {
        "lane": "high",
        "priority": 7,
        "score": 65,
        "reasons": inbox.event(stored[0].id).reasons,
    }
    other = document({"name": "ours", "when": {"kind": "standard", "source": "shop"}, "lane": "low", "priority": 2})
    assert admin.explain(event_id=event_id, policy=other)["lane"] == "low"
    with transaction(inbox.engine) as session:
        versions.propose(session, policy(sending("campaign", "medium", "beside")), author="cli:me")
    assert admin.explain(event_id=event_id, version="candidate")["rule"] == "beside"
    assert admin.explain(event_id=event_id, version=1)["rule"] == "beside"


def test_a_made_up_event_is_explained(admin: Desk) -> None:
    said = admin.explain(event={"type": "inventory_level.updated", "kind": "shopify", "payload": {"available": 0}})
    assert (said["lane"], said["rule"]) == ("high", "nothing left is a stock-out")
    said = admin.explain(event={"type": "price.updated", "entity_type": "log", "data": {}})
    assert (said["lane"], "stored" in said) == ("low", False)
    inner = admin.explain(event={"type": "stock.x", "payload": {"data": {"available": 0}}})
    assert inner["rule"] == "nothing left is a stock-out"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"event_id": str(uuid.uuid4()), "event": {"type": "x.y"}}, 400),
        ({"event_id": str(uuid.uuid4())}, 404),
        ({"event_id": "5"}, 404),
        ({"event": {"type": "x y"}}, 400),
        ({"event": {"payload": {}}}, 400),
        ({"event": []}, 400),
        ({"event": {"type": "x.y", "data": {}, "payload": {"a": 1}}}, 400),
        ({"event": {"type": "x.y", "payload": {"a": 1}, "data_pointer": "/b"}}, 400),
        ({"event": {"type": "x.y"}, "policy": {}}, 400),
        ({"event": {"type": "x.y"}, "version": 9}, 404),
        ({"event": {"type": "x.y"}, "at": "now"}, 400),
    ],
)
def test_what_cannot_be_explained_says_why(admin: Desk, body: Any, status: int) -> None:
    assert problem(admin.call("POST", "/v1/priority/explain", body))[0] == status
