"""Owns the life of server processes: started in a session of their own, recorded, stopped with all they started.

A record is ``$TIERCEL_HOME/run/NAME`` holding pid, birth and stop signal. It outlives a killed parent, so the next
start can end what is left; the birth keeps it from ending a stranger that was given the same pid.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.errors import ServiceFailed

POLL_S = 0.02


def _stat(pid: int) -> list[str] | None:
    # Fields from the third on (proc(5)): state, ppid, pgrp, session, …; the second, the name, may hold blanks.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def birth(pid: int) -> str | None:
    """Return what tells this process from a later one with the same pid, None when it is gone or a zombie."""
    if Path("/proc/self/stat").exists():
        stat = _stat(pid)
        return None if stat is None or stat[0] in "ZX" else stat[19]
    ps = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    state, _, started = subprocess.run(ps, capture_output=True, text=True, check=False).stdout.strip().partition(" ")
    return None if state[:1] in {"", "Z"} else "-".join(started.split())


def session(leader: int) -> list[int]:
    """Return the pids that live in the session (where there is no /proc: the group) that the leader began."""
    if not Path("/proc/self/stat").exists():
        ps = ["ps", "-A", "-o", "pid=,pgid=,stat="]
        rows = [
            row.split() for row in subprocess.run(ps, capture_output=True, text=True, check=True).stdout.splitlines()
        ]
        return [int(pid) for pid, group, state in rows if group == str(leader) and not state.startswith("Z")]
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    stats = {pid: _stat(pid) for pid in pids}
    return [pid for pid, stat in stats.items() if stat and stat[3] == str(leader) and stat[0] not in "ZX"]


def wait_until(done: Callable[[], bool], deadline_s: float) -> bool:
    """Poll until done() or the deadline, and return whether it was done."""
    end = time.monotonic() + deadline_s
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def end_session(leader: int, stop_signal: int, grace_s: float) -> None:
    """Ask the leader to stop; after the grace, or once it is gone, kill what is left of its session."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(leader, stop_signal)
    wait_until(lambda: birth(leader) is None, grace_s)
    # Helpers of a server that stopped (RabbitMQ's, a shell's) leave a moment after it.
    wait_until(lambda: not session(leader), 1.0 if birth(leader) is None else 0)
    for pid in session(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not session(leader), 5.0)


def record(home: Path, name: str, pid: int, stop_signal: int) -> None:
    """Remember a process that this home started."""
    run = home / "run"
    run.mkdir(parents=True, exist_ok=True)
    (run / name).write_text(f"{pid} {birth(pid)} {int(stop_signal)}\n")


def forget(home: Path, name: str) -> None:
    """Drop the record of a process that has ended."""
    (home / "run" / name).unlink(missing_ok=True)


def end_leftovers(home: Path) -> list[str]:
    """End what an earlier, killed run of this home left behind, and return the names of what was ended."""
    ended = []
    for entry in sorted((home / "run").glob("*")):
        words = entry.read_text().split()
        if len(words) == 3 and birth(int(words[0])) == words[1]:  # noqa: PLR2004  # see record()
            end_session(int(words[0]), int(words[2]), grace_s=10)
            ended.append(entry.name)
        entry.unlink()
    return ended


@dataclass
class Daemon:
    """One server in the foreground of its own session, its output in a log file."""

    home: Path
    name: str
    argv: Sequence[str]
    env: dict[str, str]
    cwd: Path
    stop_signal: int = signal.SIGTERM
    user: int | None = None
    group: int | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        """Where the server's output goes."""
        return self.home / "logs" / f"{self.name}.log"

    def start(self) -> None:
        """Start the server; it isn't ready yet."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                self.argv,
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self.user,
                group=self.group,
                extra_groups=None if self.user is None else [],
            )
        record(self.home, self.name, self._process.pid, self.stop_signal)

    def wait_ready(self, ready: Callable[[], bool], deadline_s: float) -> None:
        """Poll until the server is ready.

        Raises:
            ServiceFailed: it ended, or the deadline passed.
        """
        process = self._process
        if process is None:
            raise ServiceFailed(self.name, "not started", self.log)
        if not wait_until(lambda: process.poll() is not None or ready(), deadline_s):
            raise ServiceFailed(self.name, f"not ready after {deadline_s:g} s", self.log)
        if process.poll() is not None:
            raise ServiceFailed(self.name, f"ended with status {process.returncode}", self.log)

    def stop(self, grace_s: float) -> None:
        """Stop the server and everything in its session; a grace of 0 kills at once."""
        if self._process is None:
            return
        end_session(self._process.pid, self.stop_signal if grace_s else signal.SIGKILL, grace_s or 5)
        self._process.wait()
        self._process = None
        forget(self.home, self.name)
