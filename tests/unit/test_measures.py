"""A process's own numbers: right for many processes, also when one dies and another takes its place."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from app.observability import process_metrics

COUNTING = """
import os, signal, sys
from app.observability import process_metrics as measures
measures.begin(sys.argv[1], main=int(sys.argv[2]), slot=int(sys.argv[3]))
measures.ATTEMPTS.add("retry", count=int(sys.argv[4]))
measures.COMMIT.observe(0.02)
measures.CONNECTIONS.set(2)
if sys.argv[5] == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
"""
DEAD_PID = 2**22 + 1
"""Above Linux' greatest."""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TIERCEL_HOME", str(tmp_path))
    yield
    process_metrics.end()


def run(group: str, slot: int, count: int, *, dies: bool = False, main: int | None = None) -> None:
    given = [group, str(os.getpid() if main is None else main), str(slot), str(count), "dies" if dies else "ends"]
    subprocess.run([sys.executable, "-c", COUNTING, *given], check=False)


def shown() -> dict[tuple[str, ...], float]:
    """Return every sample by its name and the values of its labels."""
    merged = MultiProcessCollector.merge(process_metrics.files(), accumulate=True)  # type: ignore[no-untyped-call]
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for metric in merged
        for sample in metric.samples
    }


def test_a_process_that_never_began_counts_nothing_and_writes_no_file() -> None:
    process_metrics.ATTEMPTS.add("retry")
    process_metrics.COMMIT.observe(1)
    process_metrics.CONNECTIONS.set(1)
    assert not process_metrics.sample(lambda: 1)
    assert process_metrics.files() == []


def test_switched_off_a_process_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS", "false")
    run("web", 0, 3)
    assert process_metrics.files() == []


def test_a_folder_that_can_not_be_made_stops_no_process(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("a file")
    process_metrics.begin("web", main=os.getpid(), slot=0)
    process_metrics.ATTEMPTS.add("retry")
    assert process_metrics.files() == []


def test_processes_add_up_and_a_killed_one_loses_nothing() -> None:
    run("high", 0, 3)
    run("high", 1, 4, dies=True)
    run("low", 0, 5)
    found = shown()
    assert found["tiercel_attempts_total", "high", "retry"] == 7
    assert found["tiercel_attempts_total", "low", "retry"] == 5
    assert found["tiercel_store_commit_seconds_count", "high"] == 2
    assert found["tiercel_store_commit_seconds_bucket", "high", "0.01"] == 0
    assert found["tiercel_store_commit_seconds_bucket", "high", "0.025"] == 2


def test_who_takes_a_dead_ones_seat_goes_on_with_its_numbers_in_the_same_files() -> None:
    run("high", 0, 3, dies=True)
    files = process_metrics.files()
    run("high", 0, 4)
    assert shown()["tiercel_attempts_total", "high", "retry"] == 7
    assert process_metrics.files() == files


def test_a_group_that_begins_anew_begins_at_nothing_and_leaves_the_others_alone() -> None:
    run("high", 0, 3, main=DEAD_PID)
    run("low", 0, 5)
    run("high", 0, 4)
    found = shown()
    assert found["tiercel_attempts_total", "high", "retry"] == 4
    assert found["tiercel_attempts_total", "low", "retry"] == 5


def test_of_a_dead_process_counts_stay_and_levels_go() -> None:
    run("web", DEAD_PID, 3, dies=True)
    run("web", os.getpid(), 4)
    found = shown()
    assert found["tiercel_attempts_total", "web", "retry"] == 7
    assert found["tiercel_database_pool_in_use", "web"] == 2


def test_files_of_a_container_that_is_gone_go_after_an_hour(tmp_path: Path) -> None:
    run("high", 0, 3)
    (file,) = tmp_path.glob("metrics/counter_*")
    stranger = file.rename(file.with_name(file.name.replace(file.stem.rpartition("~")[2], "elsewhere")))
    run("low", 0, 1)
    assert stranger.exists()
    os.utime(stranger, (0, 0))
    run("low", 0, 1)
    assert not stranger.exists()


def test_memory_and_connections_are_noted_now_and_then() -> None:
    process_metrics.begin("web", main=os.getpid(), slot=0)
    assert process_metrics.sample(lambda: 3)
    assert not process_metrics.sample(lambda: 4)
    found = shown()
    assert found["tiercel_database_pool_in_use", "web"] == 3
    assert found["tiercel_process_resident_memory_bytes", "web"] > 1_000_000


def test_what_a_stranger_chose_is_other() -> None:
    assert process_metrics.named("GET", frozenset({"GET"})) == "GET"
    assert process_metrics.named("BREW", frozenset({"GET"})) == "other"
