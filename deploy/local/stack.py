"""Owns the private servers of one home as a whole: lock, ports, secrets, parallel start, stop in order."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import IO, Protocol, Self
from urllib.parse import unquote, urlsplit

from deploy.local import ports, programs, secrets_file
from deploy.local.errors import AlreadyRunning, CannotStart
from deploy.local.postgresql import PostgreSQL
from deploy.local.processes import end_leftovers
from deploy.local.rabbitmq import RabbitMQ, installed_version, queue_type, server_version
from deploy.local.redis import Redis

Report = Callable[[str, str], None]


class _Server(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


def _silent(_name: str, _text: str) -> None:
    pass


@dataclass
class Services:
    """The private PostgreSQL, RabbitMQ and Redis of one home; those with a URL in the environment are not started.

    ``durable=False`` is for tests: no fsync, and stopping kills. ``environ`` stands in for the process environment.
    """

    home: Path
    durable: bool = True
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    report: Report = _silent
    env: dict[str, str] = field(default_factory=dict, init=False)
    _servers: dict[str, _Server] = field(default_factory=dict, init=False)
    _starting: dict[str, Future[None]] = field(default_factory=dict, init=False)
    _lock: IO[str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.home = self.home.absolute()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> dict[str, str]:
        """Start all and return the environment variables that lead to them.

        Raises:
            CannotStart: says what is missing, taken or broken.
        """
        try:
            self.lock()
            self.launch()
            for starting in self._starting.values():
                starting.result()
            self._choose_queue_type()
        except BaseException:
            self.stop()
            raise
        return self.env

    def lock(self) -> None:
        """Take the home for this process alone, and end what a killed earlier run left in it.

        Raises:
            AlreadyRunning: another process has it.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        file = (self.home / "lock").open("a+")
        try:
            # POSIX locks belong to the process: a forked child doesn't keep the home locked after its parent.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            by = file.read().strip() or "?"
            file.close()
            advice = "stop that, or choose another TIERCEL_HOME"
            raise AlreadyRunning(f"{self.home} is in use by process {by}; {advice}") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._lock = file
        for name in end_leftovers(self.home):
            self.report(name, "ended: left over from a run that was killed")

    def launch(self) -> None:
        """Begin to start all; ``env`` is filled except for what only a running broker can tell."""
        programs.ensure(programs.wanted(self.environ))
        port = ports.choose(self.home)
        secret = secrets_file.first_start_secrets(self.home, self.environ)
        password = secret["LOCAL_PASSWORD"]
        postgresql = PostgreSQL(self.home, port["postgresql"], password, durable=self.durable)
        rabbitmq = RabbitMQ(self.home, port, password, durable=self.durable)
        redis = Redis(self.home, port["redis"], password)
        self.env = dict(secret)
        self._add("DATABASE_URL", postgresql.url, "postgresql", postgresql)
        self._add("BROKER_URL", rabbitmq.url, "rabbitmq", rabbitmq)
        self._add("REDIS_URL", redis.url, "redis", redis)
        self.env["BROKER_MANAGEMENT_URL"] = self.environ.get("BROKER_MANAGEMENT_URL") or (
            rabbitmq.management_url if "rabbitmq" in self._servers else ""
        )
        if given := self.environ.get("BROKER_QUEUE_TYPE"):
            self.env["BROKER_QUEUE_TYPE"] = given
        elif "rabbitmq" in self._servers and (version := installed_version()):
            self.env["BROKER_QUEUE_TYPE"] = queue_type(version)
        # Before anything starts: a database whose password is lost can't be used again.
        secrets_file.write(self.home, self.env)
        pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="start")
        self._starting = {name: pool.submit(self._start, name, server) for name, server in self._servers.items()}
        pool.shutdown(wait=False)

    def names(self) -> list[str]:
        """Return the private servers of this run."""
        return list(self._servers)

    def halt(self, name: str) -> None:
        """Stop one private server; its data stay."""
        self._servers[name].stop()

    def resume(self, name: str) -> None:
        """Start one again that was halted, or that died.

        Raises:
            CannotStart: it doesn't come up.
        """
        self._servers[name].stop()
        self._servers[name].start()

    def is_up(self, name: str) -> Callable[[], bool]:
        """Return what tells whether that server is ready; of one that isn't private, always.

        Raises:
            CannotStart: when called, if the server failed.
        """

        def ready() -> bool:
            starting = self._starting.get(name)
            if starting is not None:
                if not starting.done():
                    return False
                starting.result()
            if name == "rabbitmq":
                self._choose_queue_type()
            return True

        return ready

    def stop(self) -> None:
        """Stop all, at once, and give the home free."""
        with ThreadPoolExecutor(max_workers=3) as pool:
            for name, server in self._servers.items():
                pool.submit(self._stop, name, server)
        self._servers.clear()
        self._starting.clear()
        if self._lock:
            self._lock.close()
            self._lock = None

    def destroy(self) -> None:
        """Remove everything that was kept for this home; it must be stopped."""
        port = dict.fromkeys(ports.NAMES, 0)
        PostgreSQL(self.home, port["postgresql"], "").destroy()
        shutil.rmtree(self.home, ignore_errors=True)

    def remember(self, **values: str) -> None:
        """Add values to what a second terminal finds in ``$TIERCEL_HOME/env``."""
        self.env.update(values)
        secrets_file.write(self.home, self.env)

    def _add(self, variable: str, url: str, name: str, server: _Server) -> None:
        given = self.environ.get(variable)
        self.env[variable] = given or url
        if not given:
            self._servers[name] = server

    def _start(self, name: str, server: _Server) -> None:
        began = monotonic()
        server.start()
        self.report(name, f"ready on {_address(self.env, name)} ({monotonic() - began:.1f} s)")

    def _stop(self, name: str, server: _Server) -> None:
        server.stop()
        # One that was still on its way up may have started a process meanwhile.
        if starting := self._starting.get(name):
            with contextlib.suppress(CannotStart):
                starting.result()
            server.stop()

    def _choose_queue_type(self) -> None:
        if "BROKER_QUEUE_TYPE" in self.env:
            return
        broker = urlsplit(self.env["BROKER_URL"])
        version = server_version(
            f"{broker.hostname}:{broker.port or 5672}",
            unquote(broker.username or "guest"),
            unquote(broker.password or "guest"),
            unquote(broker.path[1:]) or "/",
            tls=broker.scheme == "amqps",
        )
        self.remember(BROKER_QUEUE_TYPE=queue_type(version or ""))


def _address(env: dict[str, str], name: str) -> str:
    variable = {"postgresql": "DATABASE_URL", "rabbitmq": "BROKER_URL", "redis": "REDIS_URL"}[name]
    url = urlsplit(env[variable])
    return f"{url.hostname}:{url.port}"
