"""What the desk serves to read: the OpenAPI document, its page, the documentation; and what no answer tells."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from app.web import reference
from app.web.factory import create_app
from app.web.openapi import document as openapi
from config.settings import Settings
from tests.support.factories import Inbox


@pytest.fixture(scope="module")
def flask_app(settings: Settings) -> Iterator[Flask]:
    made = create_app(settings)
    yield made
    made.extensions["receiver"].close()


@pytest.fixture
def limits(settings: Settings) -> Iterator[None]:
    """No failures of before, and none left over for other tests."""
    with Redis.from_url(settings.redis_url) as redis:
        redis.flushdb()
        yield
        redis.flushdb()


@pytest.fixture
def client(flask_app: Flask, inbox: Inbox) -> FlaskClient:  # noqa: ARG001  # a clean database
    return flask_app.test_client()


def test_every_route_says_what_it_is_like(flask_app: Flask) -> None:
    assert openapi.undescribed(flask_app) == []


def test_every_route_of_the_desk_needs_a_key_and_slows_those_who_have_none(
    settings: Settings, inbox: Inbox, limits: None
) -> None:
    slow = {"address_failures_per_s": 0.01, "address_failures_burst": 60, "web_processes": 1}
    made = create_app(settings.model_copy(update=slow))
    client = made.test_client()
    wrong = {"Authorization": "Bearer tk_wrong", "X-Forwarded-For": "203.0.113.7"}
    try:
        routes = [
            (method, re.sub(r"<[^>]+>", "1", rule.rule))
            for rule in made.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
            if rule.rule.startswith("/v1")
        ]
        assert len(routes) > 30
        # Somebody who writes another address before each request is still the same one.
        assert {client.open(path, method=method, headers=wrong).status_code for method, path in routes} == {401}
        seen = [client.get("/v1/priority/policy", headers=wrong).status_code for _ in range(60)]
        assert set(seen) == {401, 429}
        for method, path in routes:
            assert client.open(path, method=method, headers=wrong).status_code == 429
    finally:
        made.extensions["receiver"].close()


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


def test_every_link_and_picture_of_every_page_leads_somewhere(client: FlaskClient) -> None:
    docs = reference.PAGE.parent
    names = [str(page.relative_to(docs).with_suffix("")) for page in docs.rglob("*.md")]
    assert {"performance", "runbooks/README", "decisions/0001-postgresql-is-the-truth"} <= set(names)
    for name in names:
        page = client.get(f"/docs/{name}")
        assert page.status_code == 200, name
        for link in re.findall(r'(?:src|href)="([^"#]+)', page.text):
            if not link.startswith("https://"):
                assert link.startswith("/docs/"), (name, link)
                assert client.get(link).status_code == 200, (name, link)


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "README",
        "decisions/..%2Fapi",
        "pictures/../../README.md",
        "images/no.png",
        "..%2fREADME",
        "decisions",
        "problems.md",
        "a" * 200,
        "%00",
    ],
)
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
