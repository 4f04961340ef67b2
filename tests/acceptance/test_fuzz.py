"""Mutated and made-up requests, short forms of ``make soak``: whatever is sent, nothing breaks and nothing leaks."""

import secrets
import sys
import time
from urllib.parse import urlsplit

import pytest

from app.db.engine import transaction
from app.models import Scope
from app.sources.kinds import KINDS
from bench.harness.target import NotRunning, Target, senders
from bench.soak import leaks, rows
from bench.soak.bodies import to_json
from bench.soak.call import Call, Said, call
from bench.soak.fuzz import fuzz
from bench.soak.kept import kept
from bench.soak.processes import Watch, pss_mb, web_processes
from bench.soak.routecalls import Asking, Route, Who, calls, routes
from bench.soak.routes import Report, soak
from bench.soak.sound import SOURCES, sound
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


def test_every_verified_body_is_answered_2xx_and_stored(target: Target) -> None:
    report = kept(target, seed=20261130, bodies=20, mutated=2)
    assert report.failures == []
    assert report.sent > 400
    assert report.outcomes["unmapped"] > 0
    assert report.outcomes["pending"] > 0


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


def test_400_made_up_requests_to_every_route_get_no_5xx_and_store_and_leak_nothing(
    system: System, target: Target
) -> None:
    report, hidden = soak(target, seed=20261122, count=400)
    grown = [failure for failure in report.failures if "memory" in failure]  # so few say nothing of that
    assert list(report.failures) == grown
    assert report.sent == 400
    assert set(report.statuses) == {who.value for who in Who}
    assert [name for name, text in hidden.items() if text in system.log_text()] == []


def test_every_route_is_asked_by_everybody() -> None:
    found = routes()
    made = list(calls(1, 40 * len(found), dict.fromkeys(Who, "k"), ["shop"], "canary", found))
    assert {(one.route.method, one.route.path, one.who) for one in made} == {
        (route.method, route.path, who) for route in found for who in Who
    }


def test_nobody_over_loopback_gives_one_path_anothers_route(target: Target) -> None:
    for name, value in ((b"SCRIPT_NAME", b"/webhooks"), (b"SCRIPT_NAME", b"/x"), (b"PATH_INFO", b"/livez")):
        said = call(target.host, target.port, Call("", False, b"/webhooks/livez", b"{}", ((name, value),)))
        assert said.status == 404, name


def asking(status: int | None, who: Who = Who.READ, raw: bytes = b"", *, timed_out: bool = False) -> Report:
    report = Report(1)
    route = Route("POST", "/v1/keys", Scope.ADMIN, (), None)
    report.add(Asking(Call("", False, b"/v1/keys"), route, who), Said(status, raw, timed_out), {"a key": "tk_secret"})
    return report


def test_the_soak_sees_what_must_not_be() -> None:
    assert not asking(403).failures
    assert "500 to POST /v1/keys" in str(asking(500).failures)
    assert "201 to POST /v1/keys with read key" in str(asking(201).failures)
    assert "a key is in the answer" in str(asking(403, raw=b"x tk_secret").failures)
    assert "no answer in time" in str(asking(None, timed_out=True).failures)


def test_the_comparison_of_rows_sees_one_that_was_added(target: Target) -> None:
    before = rows.digests(target.engine)
    with senders(target, {"row": ("standard", {})}), transaction(target.engine):
        changed = "\n".join(rows.changes(before, rows.digests(target.engine)))
    assert "the rows of source have changed" in changed
    assert "the rows of api_key have changed" in changed
    assert set(before) >= set(rows.LIVING)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_receivers_processes_are_found_and_their_memory_is_watched(target: Target) -> None:
    found = web_processes(target.port)
    assert len(found) == target.settings.web_processes
    assert pss_mb(found) > 10
    with Watch(found) as watch:
        for step in range(100):
            watch.at(step / 100)
    early, late = watch.first_and_last_mb()
    assert early > 10
    assert late > 10
    with pytest.raises(NotRunning):
        web_processes(1)
