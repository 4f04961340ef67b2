"""Owns the system under test: private servers, and the processes of the Procfile under `make up`'s own supervisor."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

import psutil
import psycopg2
import requests
from sqlalchemy import make_url

from app.db.engine import make_engine
from app.security.vault import Vault
from bench.harness.target import Target
from config.settings import Settings
from deploy.local import programs
from deploy.local.processes import end_leftovers
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.stack import Services

ROOT = Path(__file__).parents[2]
_READY_S = 120.0
_URLS = {"DATABASE_URL": "postgresql", "BROKER_URL": "rabbitmq", "REDIS_URL": "redis"}


class System:
    """One home: its servers, the processes of the Procfile over them, and a proxy between where that is asked for."""

    def __init__(self, home: Path, *, proxied: bool = False, standby: bool = False) -> None:
        self.home = home
        self.proxied = proxied
        self._standby = standby
        self.services = Services(home / "servers", durable=True, environ={})
        self.env: dict[str, str] = {}
        self.proxy_ports: dict[str, int] = {}
        self._proxy: subprocess.Popen[str] | None = None
        self._up: subprocess.Popen[bytes] | None = None
        self.port = _free_port()

    def __enter__(self) -> Self:
        self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        try:
            self.env = dict(self.services.start())
            if self.proxied:
                self._start_proxy()
            self._start_processes()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._up is not None:
            self._up.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._up.wait(60)
            self._up.kill()
            self._up.wait()
        end_leftovers(self.home / "up")
        if self._proxy is not None:
            self._proxy.kill()
            self._proxy.wait()
        self.services.stop()
        self.services.destroy()

    @property
    def settings(self) -> Settings:
        """The settings of this system, straight to its servers."""
        values = {name.lower(): self.env[name] for name in (*_URLS, "BROKER_QUEUE_TYPE")}
        keys = {name: self.env[name] for name in ("TIERCEL_SECRET_KEYS", "TIERCEL_KEY_PEPPER")}
        return Settings(**values, **keys, port=self.port)  # type: ignore[arg-type]  # pydantic reads them

    def target(self) -> Target:
        """Return where to send, and the database to look into."""
        settings = self.settings
        return Target("127.0.0.1", self.port, make_engine(settings.database_url), Vault(settings), settings)

    def log(self) -> str:
        """Return what the processes have printed."""
        return (self.home / "output").read_text(errors="replace")

    def leader(self, name: str) -> psutil.Process:
        """Return the process that a line of the Procfile is now."""
        return psutil.Process(int((self.home / "up" / "run" / name).read_text().split()[0]))

    def kill(self, name: str, *, child: bool = False) -> bool:
        """Kill the process of a line of the Procfile, or one of its children; tell whether there was one."""
        with suppress(psutil.Error, OSError, LookupError, ValueError):
            process = self.leader(name)
            if child:
                process = secrets.choice(process.children())
            process.kill()
            return True
        return False

    def server(self, name: str) -> list[psutil.Process]:
        """Return the processes of a private server."""
        leader = psutil.Process(int((self.home / "servers" / "run" / name).read_text().split()[0]))
        return [leader, *leader.children(recursive=True)]

    def signal_server(self, name: str, number: int, *, all_of_it: bool = True) -> None:
        """Send a signal to a private server, or only to its leading process."""
        for process in self.server(name) if all_of_it else self.server(name)[:1]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def wait_gone(self, name: str) -> None:
        """Wait until a server's leading process has ended."""
        with suppress(OSError, psutil.Error):
            self.server(name)[0].wait(60)

    def rabbitmqctl(self, *words: str) -> None:
        """Run rabbitmqctl against the private broker."""
        broker: Any = self.services._servers["rabbitmq"]
        assert isinstance(broker, RabbitMQ)
        argv = programs.command([programs.find("rabbitmq-server", "rabbitmqctl"), *words])
        subprocess.run(argv, env=broker._environment(), cwd=broker.folder, check=True, capture_output=True)

    def connect(self) -> Any:
        """Return a connection to the database, in autocommit."""
        url = make_url(self.env["DATABASE_URL"]).set(drivername="postgresql")
        connection = psycopg2.connect(url.render_as_string(hide_password=False), connect_timeout=5)
        connection.autocommit = True
        return connection

    def sql(self, statement: str) -> None:
        """Run a statement."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def misbehave(self, service: str, mode: str) -> None:
        """Tell the proxy what to do to a service's connections."""
        assert self._proxy is not None
        assert self._proxy.stdin is not None
        assert self._proxy.stdout is not None
        self._proxy.stdin.write(f"{self.proxy_ports[service]} {mode}\n")
        self._proxy.stdin.flush()
        assert self._proxy.stdout.readline() == "done\n"

    def ready(self) -> bool:
        """Tell whether everything is there: ``/readyz`` answers 200 and "ok"."""
        try:
            answer = requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2)
            return answer.status_code == 200 and bool(answer.json()["status"] == "ok")
        except (requests.RequestException, ValueError):
            return False

    def until(self, done: Callable[[], bool], within_s: float, what: str) -> float:
        """Wait until ``done``, and return after how many seconds."""
        began = time.monotonic()
        while not done():
            if time.monotonic() - began > within_s:
                raise AssertionError(f"not {what} after {within_s:g} s\n{self.log()[-4000:]}")
            time.sleep(0.05)
        return time.monotonic() - began

    def _start_proxy(self) -> None:
        words = []
        for variable, service in _URLS.items():
            url = make_url(self.env[variable])
            self.proxy_ports[service] = _free_port()
            words.append(f"{self.proxy_ports[service]}:{url.port}")
        argv = [sys.executable, "-m", "tests.faults.proxy", *words]
        self._proxy = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._proxy.stdout is not None
        assert self._proxy.stdout.readline() == "ready\n"

    def _start_processes(self) -> None:
        home = self.home / "up"
        home.mkdir(mode=0o711, exist_ok=True)
        lines = (ROOT / "Procfile").read_text()
        lines = lines.replace("app.wsgi:", "tests.faults.wsgi:").replace("tasks.worker:", "tests.faults.worker:")
        # Flower only watches; what it costs would go from the load.
        lines = re.sub(r"^flower:.*\n?", "", lines, flags=re.MULTILINE)
        if self._standby:
            lines += "".join(
                line.replace(":", "-standby:", 1) + "\n"
                for line in lines.splitlines()
                if line.startswith(("dispatcher:", "beat:"))
            )
        (self.home / "Procfile").write_text(lines)
        env = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
        env |= {name: value for name, value in self.env.items() if name != "LOCAL_PASSWORD"}
        for variable, service in _URLS.items():
            if service in self.proxy_ports:
                env[variable] = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{self.proxy_ports[service]}", env[variable])
        env |= {
            "TIERCEL_HOME": str(home),
            "TIERCEL_PROCFILE": str(self.home / "Procfile"),
            "PORT": str(self.port),
            "FLOWER_PORT": str(_free_port()),
            "PYTHONPATH": str(ROOT),
        }
        # What is measured here is what breaks; coverage in every process would only slow it.
        for name in ("MAKELEVEL", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
            env.pop(name, None)
        output: IO[bytes]
        with (self.home / "output").open("wb") as output:
            argv = [sys.executable, "-m", "deploy.local.up"]
            self._up = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
        self.until(lambda: "Tiercel is ready" in self.log() or self._ended(), _READY_S, "ready")
        assert not self._ended(), self.log()
        self.until(self.ready, 30, "ready")

    def _ended(self) -> bool:
        return self._up is None or self._up.poll() is not None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
