"""What somebody with a key, or without, could try at the desk, and how far they get."""

import threading
from collections import Counter
from collections.abc import Callable

import pytest
from flask import Flask

from app.models import Scope
from tests.support.admin_client import Desk
from tests.support.factories import Inbox, incoming


def at_once(count: int, do: Callable[[int], int]) -> Counter[int]:
    """Do something in several threads at once, and count what came back."""
    begin = threading.Barrier(count)
    got: Counter[int] = Counter()

    def run(number: int) -> None:
        begin.wait()
        got[do(number)] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_an_empty_if_match_is_no_word_for_anything(flask_app: Flask, inbox: Inbox) -> None:
    admin = Desk(flask_app, inbox, Scope.ADMIN)
    for empty in ("", " "):
        for method, path, body in (
            ("DELETE", "/v1/sources/shop", None),
            ("PATCH", "/v1/sources/shop", {"enabled": False}),
            ("PUT", "/v1/priority/policy", admin.get("/v1/priority/policy")),
        ):
            assert admin.refused(method, path, body, If_Match=empty) == (400, "field-invalid")
    assert admin.get("/v1/sources/shop")["enabled"]
    assert admin.get("/v1/priority/policy")["version"] == 0


def test_a_window_that_ends_on_the_first_day_is_a_window(flask_app: Flask, inbox: Inbox) -> None:
    reader = Desk(flask_app, inbox, Scope.READ)
    assert reader.get("/v1/kpis?until=0001-01-01T12:00:00Z")["total"]["events"] == 0
    assert reader.refused("GET", "/v1/kpis?until=0001-01-01T00:00:00Z") == (400, "field-invalid")


@pytest.mark.parametrize(("weight", "status"), [(5.0, 200), (5.5, 400), (True, 400), ("5", 400), (1e300, 400)])
def test_a_whole_number_is_one_however_json_writes_it(
    flask_app: Flask, inbox: Inbox, weight: object, status: int
) -> None:
    admin = Desk(flask_app, inbox, Scope.ADMIN)
    assert admin.call("PATCH", "/v1/sources/shop", {"weight": weight}).status_code == status


def test_of_many_who_change_the_same_version_one_wins(flask_app: Flask, inbox: Inbox) -> None:
    admins = [Desk(flask_app, inbox, Scope.ADMIN) for _ in range(5)]
    tag = admins[0].call("GET", "/v1/sources/shop").headers["ETag"]

    def change(number: int) -> int:
        body = {"weight": number + 2}
        return admins[number].call("PATCH", "/v1/sources/shop", body, If_Match=tag).status_code

    assert at_once(5, change) == {200: 1, 412: 4}
    assert inbox.sql("SELECT count(*) FROM audit WHERE action = 'source.changed'") == [(1,)]


def test_of_many_who_send_the_same_idempotency_key_at_once_one_does_it(flask_app: Flask, inbox: Inbox) -> None:
    admin = Desk(flask_app, inbox, Scope.ADMIN)
    clients = [flask_app.test_client() for _ in range(5)]
    headers = {"Authorization": f"Bearer {admin.key}", "Idempotency-Key": "once"}
    body = {"name": "raced", "scope": "read"}

    def make(number: int) -> int:
        return clients[number].post("/v1/keys", json=body, headers=headers).status_code

    got = at_once(5, make)
    assert set(got) <= {201, 409}
    assert inbox.sql("SELECT count(*) FROM api_key WHERE name = 'raced'") == [(1,)]


def test_whoever_may_only_read_makes_us_keep_nothing(flask_app: Flask, inbox: Inbox) -> None:
    reader = Desk(flask_app, inbox, Scope.READ)
    event_id = str(inbox.accept(incoming())[0].id)
    for _ in range(2):
        answer = reader.call("POST", "/v1/priority/explain", {"event_id": event_id}, Idempotency_Key="k")
        assert answer.status_code == 200
        assert "Idempotency-Replayed" not in answer.headers
    assert inbox.sql("SELECT count(*) FROM desk_request") == [(0,)]


def test_a_limited_key_learns_no_name_of_a_source_and_makes_none(flask_app: Flask, inbox: Inbox) -> None:
    limited = Desk(flask_app, inbox, Scope.WRITE, ["shop"])
    told = set()
    for source in ({}, {"source": "first-party"}, {"source": "nobody"}):
        event = {"type": "lead.captured", "data": {"id": 1}, **source}
        told.add(limited.refused("POST", "/v1/events", event, Idempotency_Key="k"))
    assert told == {(403, "scope-missing")}
    assert inbox.sql("SELECT name FROM source") == [("shop",)]


def test_a_key_that_is_revoked_gets_no_answer_that_was_kept_for_it(flask_app: Flask, inbox: Inbox) -> None:
    first, other = (Desk(flask_app, inbox, Scope.ADMIN) for _ in range(2))
    body = {"name": "ci", "scope": "read"}
    first.done("POST", "/v1/keys", body, status=201, Idempotency_Key="once")
    other.done("DELETE", f"/v1/keys/{first.key_id}", status=204)
    assert first.refused("POST", "/v1/keys", body, Idempotency_Key="once") == (401, "key-invalid")
