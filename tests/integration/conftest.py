"""Owns what the integration tests share besides the services: the lanes' queues, empty, and the HTTP application."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.resources import Resources
from app.web.factory import create_app
from config.settings import Settings
from tests.support.factories import Inbox
from tests.support.queues import Queues


@pytest.fixture
def queues(settings: Settings, resources: Resources) -> Iterator[Queues]:
    resources.publisher.queues()  # declares them
    found = Queues(settings)
    found.purge()
    yield found
    found.purge()
    found.connection.close()


@pytest.fixture
def flask_app(settings: Settings, inbox: Inbox) -> Iterator[Flask]:  # noqa: ARG001  # a clean database with its source
    made = create_app(settings)
    yield made
    made.extensions["receiver"].close()


@pytest.fixture
def client(flask_app: Flask) -> FlaskClient:
    return flask_app.test_client()
