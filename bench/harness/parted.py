"""Owns a private system whose parts can be ended and started one by one: no supervisor starts them again."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.harness.children import ROOT, free_port
from bench.harness.private import WIDE_OPEN
from bench.harness.target import NotRunning, Target, find_target
from config.settings import Settings, settings
from deploy.local import procfile, readiness
from deploy.local.processes import end_leftovers, end_session, wait_until
from deploy.local.procfile import Processes, Terminal
from deploy.local.stack import Services

_READY_S = 120.0
_STOP_S = 20.0
OURS = ("web", "worker-high", "worker-medium", "worker-low", "dispatcher")
"""What takes, publishes and applies events."""


@dataclass
class Parted:
    """Private servers, and the lines of the Procfile over them."""

    home: Path
    services: Services
    processes: Processes
    commands: dict[str, str]
    values: dict[str, str]
    log: Path
    running: dict[str, int] = field(default_factory=dict)
    """The leading process of each line."""

    def start(self, *names: str, **more: str) -> None:
        """Start lines and wait until they do their work; ``more`` is only for them.

        Raises:
            NotRunning: they don't come up.
        """
        env = procfile.environment({**self.values, **more}, self.home, Path(sys.executable).parent)
        commands = {name: self.commands[name] for name in names}
        for name, command in commands.items():
            self.processes.start(name, command, env, ROOT)
        self.running |= {name: pid for pid, name in self.processes.pids().items() if name in commands}
        waiting = readiness.checks(commands, env, "127.0.0.1")

        def ready() -> bool:
            for name in [name for name, check in waiting.items() if check() is not None]:
                del waiting[name]
            return not waiting

        if not wait_until(ready, _READY_S):
            raise NotRunning(f"not ready: {', '.join(waiting)}\n{self.log.read_text(errors='replace')[-3000:]}")

    def stop(self, *names: str, number: int = signal.SIGTERM) -> None:
        """End lines, each with all it started."""
        for name in names:
            end_session(self.running.pop(name), number, _STOP_S)
            self.processes.forget(name)

    def children(self, name: str) -> list[psutil.Process]:
        """Return the processes that a line's leading process started."""
        return list(psutil.Process(self.running[name]).children())

    def cpu_s(self, names: Sequence[str]) -> float:
        """Return the processor time that lines have used."""
        leaders = [psutil.Process(self.running[name]) for name in names]
        living = [one for leader in leaders for one in (leader, *leader.children(recursive=True))]
        times = [one.cpu_times() for one in living]
        return float(sum(one.user + one.system + one.children_user + one.children_system for one in times))

    def target(self) -> Target:
        """Return where to send, once it is ready."""
        return find_target()


@contextmanager
def parted(edit: Callable[[str], str] = str, names: Sequence[str] = OURS, **more: str) -> Iterator[Parted]:
    """Start private servers and lines of the Procfile, and point this process at them.

    ``edit`` may change each line, ``more`` adds settings.
    """
    home = Path(tempfile.mkdtemp(prefix="tiercel-bench-"))
    home.chmod(0o711)
    before = dict(os.environ)
    for name, setting in Settings.model_fields.items():
        os.environ.pop((setting.alias or name).upper(), None)
    ports: Mapping[str, str] = {"PORT": str(port := free_port()), "FLOWER_PORT": str(free_port(port))}
    log = home / "output"
    services = Services(home, environ={})
    with log.open("w") as out:
        processes = Processes(home, Terminal(out))
        try:
            values = {name: value for name, value in services.start().items() if name != "LOCAL_PASSWORD"}
            values |= {**WIDE_OPEN, **ports, **more, "TIERCEL_HOME": str(home)}
            os.environ.update(values)
            settings.cache_clear()
            commands = {name: edit(line) for name, line in procfile.read(ROOT / "Procfile").items()}
            made = Parted(home, services, processes, commands, values, log)
            _migrate(made)
            made.start(*names)
            yield made
        finally:
            processes.stop()
            end_leftovers(home)
            services.stop()
            services.destroy()
            os.environ.clear()
            os.environ.update(before)
            settings.cache_clear()


def _migrate(made: Parted) -> None:
    made.commands["migrate"] = "tiercel db upgrade"
    made.start("migrate")
    if not wait_until(lambda: "migrate" in made.processes.ended(), _READY_S):
        raise NotRunning("the schema isn't there")
    made.running.pop("migrate")
    made.processes.forget("migrate")
