"""The main faults in their short form: seeded, a few hundred events each; `make faults` is the long one."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.models import Outcome
from deploy.local import programs
from tests.faults.injections import FAULTS, Fault
from tests.faults.poison import POISONS, poisoned
from tests.faults.run import run
from tests.faults.system import System

SHORT = [fault for fault in FAULTS if fault.short]
_COUNT, _RATE = 300, 120.0


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """One system for all of them: what a fault leaves behind, the next one finds."""
    if programs.missing_servers():
        if os.environ.get("CI"):
            raise RuntimeError("the servers are missing")
        pytest.skip("the servers are missing")
    with tempfile.TemporaryDirectory(prefix="tiercel-faults-") as folder:
        Path(folder).chmod(0o711)
        with System(Path(folder)) as running:
            yield running


@pytest.mark.timeout(180)
@pytest.mark.parametrize("fault", SHORT, ids=lambda fault: fault.name)
def test_nothing_is_lost_and_nothing_applied_twice_when(system: System, fault: Fault) -> None:
    result = run(system, fault, seed=2026, count=_COUNT, rate=_RATE)
    assert result.differences == []
    assert (result.lost, result.twice, result.wrong_rows) == (0, 0, 0)
    assert result.accepted >= _COUNT


@pytest.mark.timeout(180)
def test_an_event_that_kills_or_starves_its_process_dies_and_the_others_live(system: System) -> None:
    outcomes, result = poisoned(system, POISONS, seed=7, count=_COUNT, rate=_RATE)
    assert set(outcomes.values()) == {Outcome.DEAD}
    assert result.differences == []
