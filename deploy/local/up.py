"""Owns `make up`: everything of Tiercel on this machine, in the foreground, until Ctrl-C.

Exit status 0 after Ctrl-C or TERM, 1 when something can't start or ends by itself.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import NoReturn

from config.settings import SettingsInvalid, load_settings, tiercel_home
from deploy.local import ports, procfile, readiness
from deploy.local.errors import CannotStart
from deploy.local.make import told_to_stop
from deploy.local.processes import end_session, forget, record
from deploy.local.procfile import Processes, Terminal
from deploy.local.stack import Services
from deploy.local.supervise import Restarts, Watcher

ROOT = Path(__file__).resolve().parents[2]
_MIGRATE = ["tiercel", "db", "upgrade"]
_READY_S = 120.0
_POLL_S = 0.1


class Stopped(Exception):  # noqa: N818  # named for the fact, like every error here
    """The operator wants it to stop."""


class Up:
    """One run of `make up`."""

    def __init__(self, terminal: Terminal, stop: Event) -> None:
        self.began = time.monotonic()
        self.terminal = terminal
        self.stop = stop
        self.home = tiercel_home()
        self.services = Services(self.home, report=terminal.say)
        self.processes = Processes(self.home, terminal)
        self.procfile = Path(os.environ.get("TIERCEL_PROCFILE") or ROOT / "Procfile")
        self.bind = os.environ.get("BIND") or "127.0.0.1"
        self.ports = {name: os.environ.get(name) or default for name, default in _DEFAULT_PORTS.items()}
        self.watcher: Watcher | None = None

    def run(self) -> None:
        """Start everything, and return only by an exception.

        Raises:
            Stopped: the operator wanted it.
            CannotStart: something is missing, taken or broken, or has ended by itself.
        """
        self.services.lock()
        self._check_ports()
        self.services.launch()
        self._until(self.services.is_up("postgresql"))
        self.services.remember(**self.ports)
        self._migrate()
        commands = procfile.read(self.procfile)
        early: dict[str, str] = {}
        if "BROKER_QUEUE_TYPE" in self.services.env:  # who declares a queue must know it
            early = {name: command for name, command in commands.items() if command.startswith(_BROKERLESS)}
        self._start(early)
        self._until(self.services.is_up("redis"))
        self._until(self.services.is_up("rabbitmq"))
        self._start({name: command for name, command in commands.items() if name not in early})
        self._await_readiness(commands)
        self._say_ready()
        self._supervise(commands)

    def shut_down(self) -> None:
        """Stop everything that runs: the receiver, the workers, the servers."""
        if self.watcher:
            self.watcher.stop()
        self.processes.stop()
        servers = self.services.names()
        if servers:
            self.terminal.say("stopping", ", ".join(servers))
        self.services.stop()
        if servers:
            self.terminal.say("stopped", "")

    def _check_ports(self) -> None:
        if len(set(self.ports.values())) < len(self.ports):
            raise CannotStart(f"{' and '.join(self.ports)} are the same port; choose another: make up FLOWER_PORT=…")
        for name, port in self.ports.items():
            if not port.isdigit() or not ports.is_free(int(port), self.bind):
                by = ports.listener(int(port)) if port.isdigit() else None
                taken = f"is taken by {by}" if by else "is taken" if port.isdigit() else "isn't a port"
                raise CannotStart(f"port {port} ({name}) {taken}; choose another: make up {name}=…")

    def _env(self) -> dict[str, str]:
        values = {key: value for key, value in self.services.env.items() if key != "LOCAL_PASSWORD"}
        return procfile.environment({**values, **self.ports}, self.home, Path(sys.executable).parent)

    def _migrate(self) -> None:
        began = time.monotonic()
        log = self.home / "logs" / "migrate.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as out:
            process = subprocess.Popen(
                _MIGRATE,
                env=self._env(),
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
            )
            record(self.home, "migrate", process.pid, signal.SIGTERM)
            try:
                self._until(lambda: process.poll() is not None)
            finally:
                end_session(process.pid, signal.SIGTERM, 5)
                process.wait()
                forget(self.home, "migrate")
        if process.returncode:
            raise CannotStart("\n".join(["tiercel db upgrade failed:", *log.read_text().splitlines()[-15:]]))
        self.terminal.say("database", f"upgraded ({time.monotonic() - began:.1f} s)")

    def _start(self, commands: dict[str, str]) -> None:
        env = self._env()
        for name, command in commands.items():
            self.processes.start(name, command, env, ROOT)

    def _await_readiness(self, commands: dict[str, str]) -> None:
        waiting = readiness.checks(commands, self._env(), self.bind)
        end = time.monotonic() + _READY_S

        def all_ready() -> bool:
            for name in list(waiting):
                if shown := waiting[name]():
                    del waiting[name]
                    self.terminal.say(name, f"ready: {shown}")
            if waiting and time.monotonic() > end:
                raise CannotStart(f"not ready after {_READY_S:g} s: {', '.join(waiting)}")
            return not waiting

        self._until(all_ready)

    def _supervise(self, commands: dict[str, str]) -> NoReturn:
        restarts = Restarts()
        for name in commands:
            restarts.started(name)
        self.watcher = Watcher(load_settings(), self.processes.pids, self.terminal.say)
        self.watcher.start()
        while True:
            if self.stop.wait(_POLL_S) or told_to_stop():
                raise Stopped
            for name, status in self.processes.ended().items():
                if restarts.is_due(name, _how(status)):
                    self.terminal.say(name, f"ended by itself with {_how(status)}: starting it again")
                    self.processes.forget(name)
                    self._start({name: commands[name]})
                    restarts.started(name)

    def _say_ready(self) -> None:
        settings = load_settings()
        host = f"127.0.0.1:{self.ports['PORT']}"
        flower = f"http://127.0.0.1:{self.ports['FLOWER_PORT']}"
        password = self.services.env["FLOWER_PASSWORD"]
        for line in (
            "",
            f"Tiercel is ready ({time.monotonic() - self.began:.1f} s).",
            f"  receiver   http://{host}/webhooks/SOURCE   (API: http://{host}/v1, with a key)",
            f"  Flower     {flower}   user {settings.flower_user}, password {password}",
            f"  logs       here, and of the servers in {self.home / 'logs'}",
            "  first source, in a second terminal:",
            '    .venv/bin/tiercel sources add demo --kind standard --secret "whsec_$(openssl rand -base64 24)"',
            "    .venv/bin/tiercel send demo     (or the whole day: make demo)",
            "Ctrl-C stops everything.",
            "",
        ):
            self.terminal.say("", line)

    def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            if self.stop.wait(_POLL_S) or told_to_stop():
                raise Stopped
            for name, status in self.processes.ended().items():
                raise CannotStart(f"{name} ended by itself with {_how(status)} (its last lines are above)")


def _how(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"


_DEFAULT_PORTS = {"PORT": "8000", "FLOWER_PORT": "5555"}
# These come up, and are right, while RabbitMQ is still on its way; Celery's would only complain.
_BROKERLESS = ("gunicorn", "tiercel")


def main() -> NoReturn:
    """Run until stopped, and end the process with its exit status."""
    stop = Event()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Only notes it, each time: a second Ctrl-C doesn't disturb the stopping.
        signal.signal(signum, lambda *_: stop.set())
    terminal = Terminal()
    status = 1
    up = Up(terminal, stop)
    try:
        up.run()
    except Stopped:
        status = 0
    except (CannotStart, SettingsInvalid, OSError) as error:
        terminal.say("", f"tiercel: {error}")
    finally:
        up.shut_down()
    sys.exit(status)


if __name__ == "__main__":
    main()
