"""How full the memory is."""

from pathlib import Path

import pytest

from app.web.webhooks.limits.memory import used

MACHINE = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\n"


@pytest.fixture
def container(tmp_path: Path) -> Path:
    (tmp_path / "memory.max").write_text("2000\n")
    (tmp_path / "memory.current").write_text("1900\n")
    (tmp_path / "memory.stat").write_text("anon 1000\ninactive_file 100\n")
    return tmp_path


def machine(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "meminfo"
    path.write_text(text)
    return path


def test_what_can_be_freed_is_not_in_use(tmp_path: Path) -> None:
    assert used(machine(tmp_path, MACHINE), tmp_path / "none") == pytest.approx(0.6)


def test_the_fuller_of_machine_and_container_counts(tmp_path: Path, container: Path) -> None:
    assert used(machine(tmp_path, MACHINE), container) == pytest.approx(0.9)


@pytest.mark.parametrize("text", ["", "MemTotal: 0 kB\nMemAvailable: 0 kB\n", "MemTotal: much\nMemAvailable: 1 kB\n"])
def test_where_nobody_says_nothing_is_in_use(tmp_path: Path, container: Path, text: str) -> None:
    (container / "memory.max").write_text("max\n")
    assert used(machine(tmp_path, text), container) == 0.0


def test_here_it_is_a_share() -> None:
    assert 0 < used() < 1
