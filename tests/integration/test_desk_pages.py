"""What the desk serves to read: the OpenAPI document, its page, the documentation; and what no answer tells."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.web.api import openapi, reference
from app.web.factory import create_app
from config.settings import Settings
from tests.factories import Inbox


@pytest.fixture(scope="module")
def flask_app(settings: Settings) -> Iterator[Flask]:
    made = create_app(settings)
    yield made
    made.extensions["receiver"].close()


@pytest.fixture
def client(flask_app: Flask, inbox: Inbox) -> FlaskClient:  # noqa: ARG001  # a clean database
    return flask_app.test_client()


def test_every_route_says_what_it_is_like(flask_app: Flask) -> None:
    assert openapi.undescribed(flask_app) == []


def test_the_document_names_every_route_and_says_no_release(client: FlaskClient, flask_app: Flask) -> None:
    document = client.get("/openapi.json").json
    assert document == openapi.document(flask_app)
    assert (document["openapi"], document["info"]["version"]) == ("3.1.0", "1")
    assert {"/v1/events", "/v1/entities/{source}/{entity_type}/{entity_id}", "/webhooks/{name}"} <= set(
        document["paths"]
    )
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


def test_the_reference_is_what_the_routes_say() -> None:
    assert reference.PAGE.read_text() == reference.markdown(), "run `make reference`"


def test_the_page_of_the_api_needs_nothing_from_anywhere_else(client: FlaskClient) -> None:
    page = client.get("/docs")
    assert page.content_type == "text/html; charset=utf-8"
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*src=)", page.text)
    for link in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert link.startswith("/docs/assets/")
        found = client.get(link)
        assert (found.status_code, len(found.data) > 50) == (200, True), link
    assert client.get("/docs/assets/page.css").status_code == 200


def test_an_errors_type_leads_to_what_it_means(client: FlaskClient) -> None:
    refused = client.get("/v1/lanes").json
    assert refused is not None
    path, _, anchor = refused["type"].partition("#")
    page = client.get(path)
    assert page.status_code == 200
    assert f'id="{anchor}"' in page.text
    assert 'href="/docs/limits"' in page.text or "/docs/limits#" in page.text


@pytest.mark.parametrize("name", ["nothing", "README", "..%2fREADME", "decisions", "problems.md", "a" * 200, "%00"])
def test_no_other_file_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/docs/{name}").status_code == 404
    assert client.get(f"/docs/assets/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/livez", "/docs", "/openapi.json", "/v1/lanes", "/nothing", "/webhooks/nobody"])
def test_answers_are_closed_to_browsers_and_say_no_version(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    if not path.startswith("/webhooks"):
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Referrer-Policy"] == "no-referrer"
    said = f"{response.headers} {'' if path == '/docs' else response.text}".lower()
    assert not re.search(r"werkzeug|flask|python|traceback|gunicorn", said)


def test_a_fault_of_ours_shows_nothing_of_its_inside(settings: Settings) -> None:
    made = create_app(settings)

    @made.get("/broken")
    def broken() -> str:
        raise ZeroDivisionError("hush")

    try:
        response = made.test_client().get("/broken")
    finally:
        made.extensions["receiver"].close()
    assert response.status_code == 500
    assert "hush" not in response.text
    assert "ZeroDivision" not in response.text
