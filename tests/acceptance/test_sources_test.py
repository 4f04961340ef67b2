"""``tiercel sources test`` beside a running system: every kind's example gets all the way to its entity."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.db.engine import transaction
from app.sources import configured
from app.sources.kinds import KINDS
from tests.acceptance.conftest import System
from tests.support.source_secrets import OTHERS, SECRETS

PROGRAM = Path(sys.executable).parent / "tiercel"
ALL = ["source", "sign", "receive", "verify", "normalise", "store", "apply", "entity"]


def steps(system: System, name: str, *words: str) -> tuple[int, dict[str, bool], str]:
    env = {**os.environ, "DATABASE_URL": system.settings.database_url, "LOG_LEVEL": "ERROR"}
    command = [str(PROGRAM), "sources", "test", name, "--url", system.url, "--json", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    told = json.loads(done.stdout)
    return done.returncode, {one["step"]: one["ok"] for one in told}, told[-1]["detail"]


@pytest.fixture
def source(system: System, request: pytest.FixtureRequest) -> str:
    name = f"tried-{request.param}"
    with transaction(system.engine) as session:
        configured.add(session, system.vault, name, request.param, SECRETS[request.param], {})
    return name


@pytest.mark.parametrize("source", sorted(KINDS), indirect=True)
def test_an_example_of_every_kind_reaches_its_entity(system: System, source: str) -> None:
    code, told, last = steps(system, source)
    assert (code, list(told), all(told.values())) == (0, ALL, True), last
    assert last.startswith(f"/v1/entities/{source}/")


def test_a_wrong_secret_fails_at_verify_and_an_unknown_source_at_once(system: System) -> None:
    with transaction(system.engine) as session:
        configured.add(session, system.vault, "tried-wrong", "standard", SECRETS["standard"], {})
    code, told, last = steps(system, "tried-wrong", "--secret", OTHERS["standard"])
    assert (code, told) == (1, {"source": True, "sign": True, "receive": True, "verify": False})
    assert last.startswith("401 signature-invalid")
    with transaction(system.engine) as session:
        configured.disable(configured.find(session, "tried-wrong"))
    code, told, last = steps(system, "tried-wrong")
    assert (code, told) == (1, {"source": False, "sign": True, "receive": False})
    assert last.startswith("503 source-disabled")
    assert steps(system, "nobody-here")[:2] == (1, {"send": False})
