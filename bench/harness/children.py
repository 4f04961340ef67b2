"""Owns programs that a measurement starts for itself: they end with it, whatever happens."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.harness.target import NotRunning
from deploy.local.ports import RANGE, is_free, is_open
from deploy.local.processes import end_session, wait_until

ROOT = Path(__file__).parents[2]
_READY_S = 60.0
_GRACE_S = 10.0
_SET_PARENT_DEATH_SIGNAL = 1


def free_port(*taken: int) -> int:
    """Return a port on which nobody listens."""
    return next(port for port in RANGE if port not in taken and is_free(port))


def program(name: str) -> str:
    """Return a program of this project's virtual environment."""
    return str(Path(sys.executable).with_name(name))


@contextmanager
def running(
    commands: Sequence[Sequence[str]], ready: Callable[[], bool], env: Mapping[str, str] | None = None
) -> Iterator[list[int]]:
    """Run programs, each in a session of its own, once ready() says so; yields their pids.

    Raises:
        NotRunning: one ended, or they aren't ready after a minute; says what they told.
    """
    with TemporaryDirectory(prefix="tiercel-bench-log-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            started = [
                subprocess.Popen(
                    command,
                    env={**os.environ, **(env or {})},
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=_end_with_parent,  # noqa: PLW1509  # before anything here has more than one thread
                )
                for command in commands
            ]
            try:
                wait_until(lambda: _any_ended(started) or ready(), _READY_S)
                if _any_ended(started) or not ready():
                    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                    raise NotRunning(f"{commands[0][0]} didn't start:\n{tail}")
                yield [process.pid for process in started]
            finally:
                for process in started:
                    end_session(process.pid, signal.SIGTERM, _GRACE_S)
                    process.wait()


@contextmanager
def served(flask_app: str) -> Iterator[tuple[int, int]]:
    """Serve a Flask application as the receiver is served; yields its pid and port."""
    port = free_port()
    command = [program("gunicorn"), "--config", "app/gunicorn_conf.py", flask_app]
    with running([command], lambda: is_open(port), {"PORT": str(port)}) as (pid,):
        # The port is open before the processes behind it are there.
        time.sleep(1.0)
        yield pid, port


def _any_ended(started: Sequence[subprocess.Popen[bytes]]) -> bool:
    return any(process.poll() is not None for process in started)


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
