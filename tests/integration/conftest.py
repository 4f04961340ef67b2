"""Owns what the integration tests share besides the services: the lanes' queues, empty."""

from collections.abc import Iterator

import pytest

from app.resources import Resources
from config.settings import Settings
from tests.support.queues import Queues


@pytest.fixture
def queues(settings: Settings, resources: Resources) -> Iterator[Queues]:
    resources.publisher.queues()  # declares them
    found = Queues(settings)
    found.purge()
    yield found
    found.purge()
    found.connection.close()
