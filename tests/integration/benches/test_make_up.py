"""Owns how `make up` begins, stops, and tells what is wrong."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from deploy.local.processes import end_leftovers, session
from tests.support.waiting import free_port, wait_until

ROOT = Path(__file__).resolve().parents[3]


class MakeUp:
    """A run of `python -m deploy.local.up` on a Procfile of its own, with a database and broker that exist already."""

    def __init__(self, home: Path, env: dict[str, str], lines: str, **more: str) -> None:
        (home / "Procfile").write_text(lines)
        environ = {
            **os.environ,
            **env,
            "TIERCEL_HOME": str(home),
            "TIERCEL_PROCFILE": str(home / "Procfile"),
            "PORT": str(free_port()),
            "FLOWER_PORT": str(free_port()),
            **more,
        }
        environ.pop("MAKELEVEL", None)
        self.output = home / "output"
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local.up"],
                cwd=ROOT,
                env=environ,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.output.read_text()

    def wait_for(self, words: str) -> None:
        wait_until(lambda: words in self.said() or self.process.poll() is not None)
        assert words in self.said(), self.said()

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        with suppress(psutil.NoSuchProcess):
            for process in [*self.descendants(), psutil.Process(self.process.pid)]:
                process.kill()
        self.process.wait()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    end_leftovers(tmp_path)


CALM = "calm: sleep 600\n"


def test_make_up_stops_with_status_0_and_leaves_no_process(home: Path, services: dict[str, str]) -> None:
    up = MakeUp(home, services, CALM + "family: sh -c 'sleep 601 & sleep 602'\n")
    try:
        up.wait_for("Tiercel is ready")
        started = up.descendants()
        wait_until(lambda: len(up.descendants()) >= 4)
        started = up.descendants()
        # When Ctrl-C is pressed twice
        up.process.send_signal(signal.SIGINT)
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(60) == 0, up.said()
        _, alive = psutil.wait_procs(started, timeout=1)
        assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
        assert "Traceback" not in up.said()
    finally:
        up.end()


def test_make_up_names_a_process_that_ends_by_itself_and_stops_with_status_1(
    home: Path, services: dict[str, str]
) -> None:
    up = MakeUp(home, services, CALM + "brief: sh -c 'exit 3'\n")
    try:
        assert up.process.wait(60) == 1
        assert "brief ended by itself with status 3" in up.said()
    finally:
        up.end()


def test_make_up_names_a_taken_port_before_it_starts_anything(home: Path, services: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        up = MakeUp(home, services, CALM, FLOWER_PORT=taken)
        try:
            assert up.process.wait(60) == 1
            assert f"port {taken} (FLOWER_PORT) is taken" in up.said()
            assert not (home / "env").exists()
        finally:
            up.end()


def test_a_second_make_up_in_the_same_home_says_so(home: Path, services: dict[str, str]) -> None:
    first = MakeUp(home, services, CALM)
    try:
        first.wait_for("Tiercel is ready")
        argv = [sys.executable, "-m", "deploy.local.up"]
        environ = {**os.environ, "TIERCEL_HOME": str(home)}
        second = subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"is in use by process {first.process.pid}" in second.stdout
        assert first.process.poll() is None
    finally:
        first.end()


def test_after_a_kill_the_next_make_up_ends_what_was_left(home: Path, services: dict[str, str]) -> None:
    first = MakeUp(home, services, CALM)
    try:
        first.wait_for("Tiercel is ready")
        leader = int((home / "run" / "calm").read_text().split()[0])
        first.process.kill()
        first.process.wait()
        assert session(leader)
        second = MakeUp(home, services, CALM)
        try:
            second.wait_for("Tiercel is ready")
            assert not session(leader)
            assert "left over" in second.said()
        finally:
            second.end()
    finally:
        first.end()


def test_make_up_stops_when_only_make_is_told_to(home: Path, services: dict[str, str]) -> None:
    # GNU make waits for its recipe after INT without passing it on.
    (home / "Procfile").write_text(CALM)
    (home / "Makefile").write_text(f"up:\n\t@cd {ROOT} && exec {sys.executable} -m deploy.local.up\n")
    environ = {
        **os.environ,
        **services,
        "TIERCEL_HOME": str(home),
        "TIERCEL_PROCFILE": str(home / "Procfile"),
        "PORT": str(free_port()),
        "FLOWER_PORT": str(free_port()),
    }
    output = home / "output"
    # Tests that a shell started in its background ignore INT, and whatever they start would.
    argv = ["env", "--default-signal=INT", "make", "-C", str(home), "up"]
    with output.open("wb") as out:
        make = subprocess.Popen(argv, env=environ, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    wait_until(lambda: b"Tiercel is ready" in output.read_bytes())
    make.send_signal(signal.SIGINT)
    make.wait(60)
    assert b"stopping       calm" in output.read_bytes()
    assert not list((home / "run").iterdir())


def test_what_ends_by_itself_later_is_started_again(home: Path, services: dict[str, str]) -> None:
    up = MakeUp(home, services, CALM)
    try:
        up.wait_for("Tiercel is ready")
        first = int((home / "run" / "calm").read_text().split()[0])
        os.kill(first, signal.SIGKILL)
        up.wait_for("ended by itself with signal 9: starting it again")
        wait_until(lambda: int((home / "run" / "calm").read_text().split()[0]) != first)
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(60) == 0, up.said()
    finally:
        up.end()


def test_what_ends_again_and_again_is_given_up(home: Path, services: dict[str, str]) -> None:
    # Given one that ends soon, but not before all is ready
    gate = home / "gate"
    up = MakeUp(home, services, f"brief: sh -c 'while [ ! -e {gate} ]; do sleep 0.1; done; exit 3'\n")
    try:
        up.wait_for("Tiercel is ready")
        gate.touch()
        assert up.process.wait(60) == 1
        assert "brief ended by itself with status 3, again and again" in up.said()
    finally:
        up.end()
