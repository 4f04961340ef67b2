"""Idempotency-Key on the desk's POSTs: asked again, a request is answered and not done again."""

import pytest
from flask import Flask

from app.db.engine import transaction
from app.models import Scope
from app.security import idempotency
from app.security.idempotency import Asked, StoredAnswer
from tests.support.admin_client import Desk
from tests.support.factories import Inbox, whsec


@pytest.fixture
def admin(flask_app: Flask, inbox: Inbox) -> Desk:
    return Desk(flask_app, inbox, Scope.ADMIN)


KEY = {"name": "ci", "scope": "read"}


def test_a_key_is_made_once_and_shown_the_same_again(admin: Desk, inbox: Inbox) -> None:
    first = admin.call("POST", "/v1/keys", KEY, Idempotency_Key="once")
    again = admin.call("POST", "/v1/keys", KEY, Idempotency_Key="once")
    assert (first.status_code, first.json) == (again.status_code, again.json)
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")
    assert inbox.sql("SELECT count(*) FROM api_key WHERE name = 'ci'") == [(1,)]
    assert first.json is not None
    assert first.json["key"] not in str(inbox.sql("SELECT sealed FROM desk_request"))


def test_a_refusal_is_kept_too_as_the_problem_that_it_was(admin: Desk) -> None:
    wrong = {"name": "ci", "scope": "root"}
    assert admin.refused("POST", "/v1/keys", wrong, Idempotency_Key="x") == (400, "field-invalid")
    assert admin.refused("POST", "/v1/keys", wrong, Idempotency_Key="x") == (400, "field-invalid")


def test_another_request_with_the_same_key_is_refused(admin: Desk) -> None:
    admin.done("POST", "/v1/keys", KEY, status=201, Idempotency_Key="x")
    for path, body in (("/v1/keys", {**KEY, "name": "cd"}), ("/v1/sources", {}), ("/v1/keys?a=b", KEY)):
        assert admin.refused("POST", path, body, Idempotency_Key="x") == (422, "idempotency-key-reused")


def test_keys_of_others_are_others(admin: Desk, flask_app: Flask, inbox: Inbox) -> None:
    other = Desk(flask_app, inbox, Scope.ADMIN)
    made = [desk.done("POST", "/v1/keys", KEY, status=201, Idempotency_Key="x")["id"] for desk in (admin, other)]
    assert made[0] != made[1]


def test_a_request_under_way_is_409_until_it_counts_as_lost(admin: Desk, inbox: Inbox) -> None:
    admin.done("POST", "/v1/keys", KEY, status=201, Idempotency_Key="x")
    inbox.sql("UPDATE desk_request SET status = NULL, sealed = NULL")
    assert admin.refused("POST", "/v1/keys", KEY, Idempotency_Key="x") == (409, "idempotency-key-in-use")
    inbox.sql("UPDATE desk_request SET created_at = now() - interval '2 minutes'")
    admin.done("POST", "/v1/keys", KEY, status=201, Idempotency_Key="x")


def test_what_is_to_be_tried_again_is_forgotten_and_old_answers_go(inbox: Inbox) -> None:
    asked = Asked.of(inbox.vault, 1, "x", b"request")
    with transaction(inbox.engine) as session:
        assert idempotency.begin(session, inbox.vault, asked) is None
        idempotency.drop(session, asked)
        assert idempotency.begin(session, inbox.vault, asked) is None
        idempotency.keep(session, inbox.vault, asked, StoredAnswer(200, b"hush"))
        kept = idempotency.begin(session, inbox.vault, asked)
    assert kept == StoredAnswer(200, b"hush")
    assert "hush" not in repr(kept)
    inbox.sql("UPDATE desk_request SET created_at = now() - interval '2 days'")
    with transaction(inbox.engine) as session:
        assert idempotency.begin(session, inbox.vault, Asked.of(inbox.vault, 2, "y", b"")) is None
    assert inbox.sql("SELECT key_id FROM desk_request") == [(2,)]


@pytest.mark.parametrize("key", ["", "\xe9", "a b", "x" * 256])
def test_a_key_that_cannot_be_is_400(admin: Desk, key: str) -> None:
    body = {"name": "mag", "kind": "standard", "secret": whsec()}
    assert admin.refused("POST", "/v1/sources", body, Idempotency_Key=key) == (400, "field-invalid")


def test_a_limit_says_nothing_of_a_request_so_it_is_tried_again(admin: Desk, inbox: Inbox) -> None:
    # A 5xx while the answer is made: the row must not stay.
    inbox.sql("ALTER TABLE api_key RENAME COLUMN name TO name_")
    try:
        answer = admin.call("POST", "/v1/keys", KEY, Idempotency_Key="x")
    finally:
        inbox.sql("ALTER TABLE api_key RENAME COLUMN name_ TO name")
    assert answer.status_code == 500
    admin.done("POST", "/v1/keys", KEY, status=201, Idempotency_Key="x")
