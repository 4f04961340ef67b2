"""Owns short words for asking the desk in the tests: a client with a key of its own, and what a problem is called."""

from collections.abc import Sequence
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from app.db.engine import transaction
from app.models import Scope
from app.security import api_keys
from tests.support.factories import Inbox


class Desk:
    """A client with a key."""

    def __init__(self, flask_app: Flask, inbox: Inbox, scope: Scope, sources: Sequence[str] | None = None) -> None:
        self.client = flask_app.test_client()
        with transaction(inbox.engine) as session:
            self.key, row = api_keys.make(session, inbox.vault, "ops", scope, sources=sources)
        self.key_id = row.id

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        """Send a request; a header's name is written with underscores."""
        sent = {"Authorization": f"Bearer {self.key}", **{name.replace("_", "-"): v for name, v in headers.items()}}
        return self.client.open(path, method=method, json=body, headers=sent)

    def get(self, path: str) -> Any:
        """Return the body of a 200."""
        return self.done("GET", path, status=200)

    def done(self, method: str, path: str, body: Any = None, *, status: int, **headers: str) -> Any:
        """Return the body of an answer that must have this status."""
        response = self.call(method, path, body, **headers)
        assert response.status_code == status, response.text
        return response.json if response.data else None

    def refused(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """Return the status and name of the problem that must come."""
        return problem(self.call(method, path, body, **headers))


def problem(response: TestResponse) -> tuple[int, str]:
    """Return a problem's status and name."""
    assert response.content_type == "application/problem+json", response.text
    assert response.json is not None
    assert response.json["status"] == response.status_code
    return response.status_code, response.json["type"].rpartition("#")[2]
