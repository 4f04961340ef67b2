"""Made-up requests to every route of the OpenAPI document, with a key of each scope and with none (schemathesis).

A few of each route by default; ``make schema-fuzz`` makes at least 20,000 (SCHEMA_FUZZ_CALLS).
"""

import itertools
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import hypothesis
import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, engine
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.engine.events import NonFatalError, ScenarioFinished
from schemathesis.specs.openapi import checks as openapi_checks
from werkzeug.serving import make_server

from app.db.engine import transaction
from app.models import Scope
from app.security import api_keys
from app.web.factory import create_app
from config.settings import Settings
from tests.support.factories import Inbox

CALLS = int(os.environ.get("SCHEMA_FUZZ_CALLS", "0"))
SCOPES: list[Scope | None] = [*reversed(Scope), None]
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
UNSAID = {
    # What no schema can say, route by route: there a request that fits the document may be 400 all the same.
    "GET /webhooks/{name}": "only some kinds of source have a handshake",
    "GET /v1/kpis": "since is before until",
    "POST /v1/events": "an id of 5.0: whole to JSON schema, no id to us",
    "POST /v1/keys": "a time that lies ahead, sources that there are, a name that isn't blank",
    "POST /v1/sources": "a secret and options of its kind",
    "POST /v1/sources/{name}/secret": "a secret of its kind",
    "POST /v1/priority/explain": "either event_id or event, and a policy that makes sense",
    "PUT /v1/priority/policy": "a policy that makes sense",
    "POST /v1/reprioritisations": "a filter of more than nulls",
}
"""Only ``positive_data_acceptance`` is off there, and where a cursor is made up: this API gives every other one."""
ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "410", "412", "422", "428", "429"]
"""What a request that fits the document may be told: no schema knows keys, ids, ETags and what came before."""
REFUSED = ["400", "401", "403", "404", "405", "409", "410", "412", "413", "415", "422", "428", "429"]
"""What a request that doesn't fit must be told; 412: an If-Match that is no ETag at all is no ETag of this either."""
CHECKS = {
    "enabled": True,
    "positive_data_acceptance": {"expected-statuses": ACCEPTED},
    "negative_data_rejection": {"expected-statuses": REFUSED},
}


@pytest.fixture
def flask_app(settings: Settings, inbox: Inbox) -> Iterator[Flask]:
    # So many wrong keys from one address would be slowed, and that is tested elsewhere.
    quick = {"address_failures_per_s": 1e6, "address_failures_burst": 10_000_000, "failures_per_s": 1e6}
    made = create_app(settings.model_copy(update=quick))
    yield made
    made.extensions["receiver"].close()


@pytest.fixture
def served(flask_app: Flask) -> Iterator[str]:
    """The application over HTTP: schemathesis' own probes don't know WSGI."""
    server = make_server("127.0.0.1", 0, flask_app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def authorizations(inbox: Inbox) -> dict[Scope | None, dict[str, str]]:
    # Out of reach for ids that are made up, or the calls would soon revoke the keys that they come with.
    inbox.sql("ALTER SEQUENCE api_key_id_seq RESTART WITH 1000000007")
    with transaction(inbox.engine) as session:
        made = {scope: api_keys.create(session, inbox.vault, "fuzz", scope) for scope in Scope}
    return {None: {}, **{scope: {"Authorization": f"Bearer {key}"} for scope, key in made.items()}}


def _text(error: BaseException) -> str:
    inner = [_text(one) for one in getattr(error, "exceptions", ())]
    return " | ".join([str(error)[:600], *inner])


def calls(
    operation: Any, mode: GenerationMode, count: int, callers: Mapping[Scope | None, dict[str, str]]
) -> Counter[int]:
    """Make up ``count`` requests to a route, send them as each caller, and hold each answer to document and scope."""
    said = operation.definition.raw.get("x-scope")
    needed = None if said is None else Scope[said.upper()]
    seen: Counter[int] = Counter()

    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=not CALLS,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def make(case: Any) -> None:
        for scope, headers in callers.items():
            hold(case, scope, headers)

    def hold(case: Any, scope: Scope | None, headers: dict[str, str]) -> None:
        response = case.call(headers=headers)
        seen[response.status_code] += 1
        assert response.status_code < 500, response.text
        where = f"{response.status_code} to {case.method} {case.formatted_path} with {scope}"
        if needed is not None and response.status_code not in {404, 405}:
            assert (response.status_code == 401) == (scope is None), where
            if scope is not None:
                assert (response.status_code == 403) == (scope < needed), where
        unsaid = operation.label in UNSAID or "cursor" in (case.query or {})
        case.validate_response(
            response, headers=headers, excluded_checks=[openapi_checks.positive_data_acceptance] if unsaid else []
        )

    # Of a route without parameters nothing wrong can be made.
    with suppress(Unsatisfiable):
        make()
    return seen


@pytest.mark.timeout(3600 if CALLS else 240)
@pytest.mark.filterwarnings("ignore")
def test_no_answer_is_a_5xx_undocumented_or_given_to_a_key_that_may_not(
    flask_app: Flask, authorizations: dict[Scope | None, dict[str, str]]
) -> None:
    config = SchemathesisConfig.from_dict({"checks": CHECKS, "generation": {"with-security-parameters": False}})
    schema = schemathesis.openapi.from_wsgi("/openapi.json", flask_app, config=config)
    found: list[Any] = list(schema.get_all_operations())
    operations = [one.ok() for one in found]
    each = max(1, -(-CALLS // (len(operations) * len(SCOPES) * len(MODES))) * 8 // 5)
    seen: Counter[int] = Counter()
    wrong: list[str] = []
    # The short form sends the same to each, since making requests up is what costs.
    groups = [{scope: authorizations[scope]} for scope in SCOPES] if CALLS else [authorizations]
    for callers, operation, mode in itertools.product(groups, operations, MODES):
        try:
            seen += calls(operation, mode, each, callers)
        except (AssertionError, BaseExceptionGroup, FailureGroup) as error:
            wrong.append(f"{operation.label}, {mode.value}: {_text(error)}")
            print(wrong[-1], flush=True)  # noqa: T201  # the long form takes its time
    assert not wrong, "\n\n".join(wrong)
    assert sum(seen.values()) >= max(CALLS, len(operations) * len(SCOPES)), seen
    print(f"{sum(seen.values())} calls: {dict(sorted(seen.items()))}")  # noqa: T201  # what the long form is run for


def failures(finished: ScenarioFinished) -> Iterator[str]:
    for case_id, nodes in finished.recorder.checks.items():
        for node in nodes:
            if node.failure_info is None:
                continue
            answer = finished.recorder.interactions[case_id].response
            code = node.failure_info.code_sample
            if node.name == "positive_data_acceptance" and "cursor=" in code:
                continue  # as in UNSAID
            said = None if answer is None else f"{answer.status_code} {answer.text[:200]}"
            yield f"{finished.label}, {node.name}: {str(node.failure_info.failure)[:300]} | {said} | {code[:500]}"


@pytest.mark.skipif(not CALLS, reason="the long form: make schema-fuzz")
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_every_phase_and_check_of_schemathesis_finds_nothing(
    served: str, authorizations: dict[Scope | None, dict[str, str]]
) -> None:
    """Examples, coverage, fuzzing and chains of calls, by schemathesis' own engine, as an admin."""
    off = {"positive_data_acceptance": {"enabled": False}}
    config = SchemathesisConfig.from_dict(
        {
            "headers": authorizations[Scope.ADMIN],
            "continue-on-failure": True,
            "checks": CHECKS,
            "generation": {"max-examples": max(1, CALLS // 400), "with-security-parameters": False},
            "operations": [
                *({"include-name": name, "checks": off} for name in UNSAID),
                # To delete a replay stops it, and leaves what it has done to be seen.
                {"include-name": "GET /v1/replays/{replay_id}", "checks": {"use_after_free": {"enabled": False}}},
            ],
        }
    )
    schema = schemathesis.openapi.from_url(f"{served}/openapi.json", config=config)
    seen: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for event in engine.from_schema(schema).execute():
        if isinstance(event, NonFatalError):
            wrong[f"{event.label}: {event.info.format()}"[:600]] += 1
        if isinstance(event, ScenarioFinished):
            seen[event.phase.value] += len(event.recorder.interactions)
            wrong.update(failures(event))
    assert not wrong, "\n\n".join(wrong)
    print(f"{sum(seen.values())} calls: {dict(seen)}")  # noqa: T201  # what the long form is run for
