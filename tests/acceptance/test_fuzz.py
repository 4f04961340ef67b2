"""Mutated requests, a short form of ``make soak`` part 1: whatever is sent, nothing breaks and nothing leaks."""

import secrets
import time
from urllib.parse import urlsplit

import pytest

from app.sources import KINDS
from bench.soak import leaks
from bench.soak.bodies import to_json
from bench.soak.fuzz import fuzz
from bench.soak.sound import SOURCES, sound
from bench.target import Target, senders
from tests.acceptance.conftest import System


@pytest.fixture
def target(system: System) -> Target:
    url = urlsplit(system.url)
    return Target(str(url.hostname), int(url.port or 0), system.engine, system.vault, system.settings)


def test_300_mutated_requests_get_2xx_or_4xx_and_nothing_unverified_is_kept_or_logged(
    system: System, target: Target
) -> None:
    report, canary = fuzz(target, seed=20261122, count=300)
    assert report.failures == []
    assert report.sent == 300
    assert canary not in system.log_text()


def test_every_kind_of_sender_is_fuzzed() -> None:
    assert {kind for kind, _ in SOURCES.values()} == set(KINDS)


def test_the_search_for_leaks_finds_what_a_verified_body_held(target: Target) -> None:
    mark = f"mark{secrets.token_hex(8)}"
    with senders(target, {"leak": ("standard", {})}) as (made, _), target.door() as door:
        body = to_json(sound("standard", 1, mark))
        headers = made["leak"].sign(mark, "price.updated", body, time.time())
        answer = door.send(
            "POST", f"/webhooks/{made['leak'].name}", body, {"Content-Type": "application/json", **headers}
        )
    assert answer.status == 202
    assert "1 rows of event.payload" in set(leaks.in_database(target.engine, mark))
