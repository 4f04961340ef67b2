"""Made-up requests to every route of the OpenAPI document, with a key of each scope and with none (schemathesis).

A few of each route by default; ``make schema-fuzz`` makes at least 20,000 (SCHEMA_FUZZ_CALLS).
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import hypothesis
import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks as openapi_checks

from app import keys
from app.db import transaction
from app.models import Scope
from app.web.factory import create_app
from config.settings import Settings
from tests.factories import Inbox

CALLS = int(os.environ.get("SCHEMA_FUZZ_CALLS", "0"))
SCOPES: list[Scope | None] = [None, *Scope]
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
_REFUSED = {401, 403}
EXCLUDED = [
    # What no schema can say: a cursor that this API gave, a secret that is its kind's, a source that there is.
    openapi_checks.positive_data_acceptance,
    # The desk reads JSON as strictly as its models say, but a policy, a webhook and an event may hold anything.
    openapi_checks.negative_data_rejection,
    # Each call is made with one known key, or none: who may what is held below, exactly.
    openapi_checks.ignored_auth,
    # GET after DELETE and the like: calls here come in no order that would mean anything.
    openapi_checks.use_after_free,
    openapi_checks.ensure_resource_availability,
    checks.max_response_time,
]


@pytest.fixture
def flask_app(settings: Settings, inbox: Inbox) -> Iterator[Flask]:
    # So many wrong keys from one address would be slowed, and that is tested elsewhere.
    quick = {"address_failures_per_s": 1e6, "address_failures_burst": 10_000_000, "failures_per_s": 1e6}
    made = create_app(settings.model_copy(update=quick))
    yield made
    made.extensions["receiver"].close()


@pytest.fixture
def authorizations(inbox: Inbox) -> dict[Scope | None, str]:
    # Out of reach for ids that are made up, or the calls would soon revoke the keys that they come with.
    inbox.sql("ALTER SEQUENCE api_key_id_seq RESTART WITH 1000000007")
    with transaction(inbox.engine) as session:
        made = {scope: keys.create(session, inbox.vault, "fuzz", scope) for scope in Scope}
    return {None: "", **{scope: f"Bearer {key}" for scope, key in made.items()}}


class Keyed:
    """The application, asked with one key whatever a call makes up for it."""

    def __init__(self, flask_app: Flask) -> None:
        self.flask_app = flask_app
        self.authorization = ""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        environ["HTTP_AUTHORIZATION"] = self.authorization
        return self.flask_app(environ, start_response)


def _text(error: BaseException) -> str:
    inner = [_text(one) for one in getattr(error, "exceptions", ())]
    return " | ".join([str(error)[:600], *inner])


def calls(operation: Any, mode: GenerationMode, scope: Scope | None, count: int) -> Counter[int]:
    """Make ``count`` calls of a route and hold each answer to the document and to the scope."""
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
        response = case.call()
        seen[response.status_code] += 1
        assert response.status_code < 500, response.text
        where = f"{response.status_code} to {case.method} {case.formatted_path} with {scope}"
        if needed is not None and response.status_code not in {404, 405}:
            assert (response.status_code == 401) == (scope is None), where
            if scope is not None:
                assert (response.status_code == 403) == (scope < needed), where
        case.validate_response(response, excluded_checks=EXCLUDED)

    # Of a route without parameters nothing wrong can be made.
    with suppress(Unsatisfiable):
        make()
    return seen


@pytest.mark.timeout(3600 if CALLS else 240)
@pytest.mark.filterwarnings("ignore")
def test_no_answer_is_a_5xx_undocumented_or_given_to_a_key_that_may_not(
    flask_app: Flask, authorizations: dict[Scope | None, str]
) -> None:
    keyed = Keyed(flask_app)
    schema = schemathesis.openapi.from_wsgi("/openapi.json", keyed)
    found: list[Any] = list(schema.get_all_operations())
    operations = [one.ok() for one in found]
    each = max(1, -(-CALLS // (len(operations) * len(SCOPES) * len(MODES))) * 5 // 4)
    seen: Counter[int] = Counter()
    wrong: list[str] = []
    for scope in SCOPES:
        keyed.authorization = authorizations[scope]
        for operation in operations:
            for mode in MODES:
                try:
                    seen += calls(operation, mode, scope, each)
                except (AssertionError, BaseExceptionGroup, FailureGroup) as error:
                    wrong.append(f"{operation.label}, {mode.value}, {scope}: {_text(error)}")
    assert not wrong, "\n\n".join(wrong)
    assert sum(seen.values()) >= max(CALLS, len(operations) * len(SCOPES)), seen
    print(f"{sum(seen.values())} calls: {dict(sorted(seen.items()))}")  # noqa: T201  # what the long form is run for
