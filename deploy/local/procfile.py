"""Owns running the Procfile's processes in one terminal: start, prefixed output, who ended, stop in order.

Honcho reads the Procfile and prints; its Manager isn't used, because it signals whole process groups (a worker's
children die in the middle of a task) and stops everything at once.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from threading import Lock, Thread
from typing import IO

from honcho.colour import get_colours
from honcho.environ import parse_procfile
from honcho.printer import Message, Printer

from deploy.local.processes import end_session, forget, record

STOP_GRACE_S = 15.0
# The receiver first, so that nothing new comes in; then what works on it, and what watches.
STOP_ORDER = (("web",), ("dispatcher", "beat", "flower"))


def read(path: Path) -> dict[str, str]:
    """Return the Procfile's commands by process name, in its order."""
    return dict(parse_procfile(path.read_text()).processes)


class Terminal:
    """The shared standard output; a closed one never stops anything."""

    def __init__(self, output: IO[str] = sys.stdout, width: int = 14) -> None:
        self._printer = Printer(output, width=width)
        self._output = output
        self._lock = Lock()

    def say(self, name: str, text: str) -> None:
        """Print a line about the progress."""
        self._write(lambda: print(f"{name:<15}{text}" if name else text, file=self._output, flush=True))

    def line(self, name: str, data: bytes, colour: str | None) -> None:
        """Print one line of a process, behind time and name."""
        now = datetime.now(UTC).astimezone()
        self._write(lambda: self._printer.write(Message("line", data, now, name, colour)))

    def _write(self, write: object) -> None:
        with self._lock:
            try:
                write()  # type: ignore[operator]
            except (OSError, ValueError):
                # The terminal or the reader of a pipe is gone; stopping in order matters more than saying so.
                return


@dataclass
class Processes:
    """The running processes of a Procfile."""

    home: Path
    terminal: Terminal
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)
    _colours: Iterable[str] = field(default_factory=lambda: cycle(get_colours()), init=False)

    def start(self, name: str, command: str, env: dict[str, str], cwd: Path) -> None:
        """Start one in a session of its own, its output going to the terminal."""
        process = subprocess.Popen(
            # exec: the recorded process, which gets the stop signal, is the program and not a shell before it.
            ["/bin/sh", "-c", f"exec {command}"],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._running[name] = process
        record(self.home, name, process.pid, signal.SIGTERM)
        colour = next(iter(self._colours))
        Thread(target=self._relay, args=(name, process, colour), name=f"relay-{name}", daemon=True).start()

    def ended(self) -> dict[str, int]:
        """Return the exit status of each that has ended by itself."""
        return {name: p.returncode for name, p in self._running.items() if p.poll() is not None}

    def pids(self) -> dict[int, str]:
        """Return the names by process id."""
        return {process.pid: name for name, process in self._running.items()}

    def forget(self, name: str) -> None:
        """End what one that has ended left behind, so that it can be started again."""
        end_session(self._running.pop(name).pid, signal.SIGKILL, 0)

    def stop(self) -> None:
        """Stop all in order, each with all it started."""
        known = {name for group in STOP_ORDER for name in group}
        rest = tuple(name for name in self._running if name not in known)
        for group in (*STOP_ORDER, rest):
            names = [name for name in group if name in self._running]
            if names:
                self.terminal.say("stopping", ", ".join(names))
                with ThreadPoolExecutor(max_workers=len(names)) as pool:
                    list(pool.map(self._stop, names))

    def _stop(self, name: str) -> None:
        process = self._running[name]
        process.poll()
        end_session(process.pid, signal.SIGTERM, STOP_GRACE_S)
        process.wait()
        del self._running[name]
        forget(self.home, name)

    def _relay(self, name: str, process: subprocess.Popen[bytes], colour: str) -> None:
        if process.stdout is None:
            return
        with process.stdout:
            for line in process.stdout:
                self.terminal.line(name, line, colour)


def environment(values: dict[str, str], home: Path, programs: Path) -> dict[str, str]:
    """Return what the processes run with: this process's environment, the values, and this project's programs."""
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    # The processes see a pipe; people read the terminal behind it.
    calm = {"LOG_FORMAT": "text"} if sys.stdout.isatty() else {}
    if os.geteuid() == 0:
        # Celery warns of root for the sake of pickle, which we don't accept; docker-compose.yml runs no root.
        calm["PYTHONWARNINGS"] = "ignore:You're running the worker with superuser privileges"
    return {**calm, **os.environ, **values, "TIERCEL_HOME": str(home), "PATH": path, "PYTHONUNBUFFERED": "1"}
