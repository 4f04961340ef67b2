"""Owns the private RabbitMQ: loopback only, its own node, epmd, user and data; the management API for Flower.

Its data may be thrown away: a message is only a pointer to a row. That is done when another RabbitMQ wrote them, and
when the server won't start on them (after a kill in the wrong moment).
"""

import contextlib
import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import amqp

from deploy.local import programs
from deploy.local.errors import ServiceFailed
from deploy.local.ports import is_open
from deploy.local.processes import Daemon

NAME = "rabbitmq"
USER = "tiercel"
_DEADLINE_S = 90.0
# Queues are on disk within milliseconds; 3.10's management plugin then waits 5 s for one of its own processes.
_GRACE_S = 2.0
_QUORUM_PRIORITIES_FROM = (4, 3)


@dataclass
class RabbitMQ:
    """A private RabbitMQ of one home."""

    home: Path
    ports: dict[str, int]
    password: str
    durable: bool = True
    version: str = field(default="", init=False)
    _daemons: list[Daemon] = field(default_factory=list, init=False)
    _stopping: bool = field(default=False, init=False)

    @property
    def url(self) -> str:
        """AMQP's URL of the default virtual host."""
        return f"amqp://{USER}:{self.password}@127.0.0.1:{self.ports['amqp']}//"

    @property
    def management_url(self) -> str:
        """The management API's URL, as Flower's --broker_api takes it."""
        return f"http://{USER}:{self.password}@127.0.0.1:{self.ports['management']}/api/"

    @property
    def folder(self) -> Path:
        """Where everything of it is."""
        return self.home / NAME

    def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            ServiceFailed: it doesn't come up, not even on empty data.
        """
        self._stopping = False
        program = programs.find("rabbitmq-server", "rabbitmq-server")
        made_by = self.folder / "made-by"
        installed = f"{program} {installed_version()}"
        if made_by.is_file() and made_by.read_text() != installed:
            self.destroy()
        fresh = not made_by.is_file()
        self._write_configuration()
        try:
            self._launch(program)
        except ServiceFailed:
            if fresh or self._stopping:
                raise
            self._end()
            self.destroy()
            self._write_configuration()
            self._launch(program)
        made_by.write_text(installed)

    def stop(self) -> None:
        """Stop it, the broker before its name server."""
        self._stopping = True
        self._end()

    def _end(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.stop(grace_s=_GRACE_S if self.durable else 0)
        self._daemons.clear()

    def destroy(self) -> None:
        """Remove its data."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_configuration(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = self.folder / "rabbitmq.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"listeners.tcp.local = 127.0.0.1:{self.ports['amqp']}\n"
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.ports['management']}\n"
            f"default_user = {USER}\ndefault_pass = {self.password}\n"
            "log.console = true\nlog.console.level = warning\nlog.file = false\n"
        )
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        key = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        variables = {
            "NODENAME": f"tiercel-{key}@localhost",
            "NODE_PORT": str(self.ports["amqp"]),
            "NODE_IP_ADDRESS": "127.0.0.1",
            "DIST_PORT": str(self.ports["distribution"]),
            "BASE": str(folder),
            "MNESIA_BASE": str(folder / "data"),
            "LOG_BASE": str(folder),
            "LOGS": "-",
            "GENERATED_CONFIG_DIR": str(folder / "config"),
            "SCHEMA_DIR": str(folder / "schema"),
            "ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            # The system's /etc/rabbitmq is for the system's own node.
            "CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            # By default each of its schedulers is bound to one core, and waits for that while another is free: right
            # for a machine of its own only.
            "SCHEDULER_BIND_TYPE": "u",
            "SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        return {
            "PATH": programs.search_path(),
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # Makes the script exec the server and not keep a shell with rabbitmqctl in front of it.
            "RUNNING_UNDER_SYSTEMD": "true",
            **{f"RABBITMQ_{name}": value for name, value in variables.items()},
        }

    def _launch(self, program: str) -> None:
        env = self._environment()
        # Started here, or Erlang would start one as a daemon that outlives the broker.
        epmd = [programs.find("rabbitmq-server", "epmd"), "-port", env["ERL_EPMD_PORT"], "-address", "127.0.0.1"]
        for name, argv in (("epmd", epmd), (NAME, [program])):
            daemon = Daemon(
                home=self.home,
                name=f"{NAME}-epmd" if name == "epmd" else NAME,
                argv=programs.command(argv),
                env=env,
                cwd=self.folder,
            )
            self._daemons.append(daemon)
            daemon.start()
            if name == "epmd":
                daemon.wait_ready(lambda: is_open(self.ports["epmd"]), 10.0)
            else:
                daemon.wait_ready(self._answers, _DEADLINE_S)

    def _answers(self) -> bool:
        if not is_open(self.ports["amqp"]) or not is_open(self.ports["management"]):
            return False
        self.version = server_version(f"127.0.0.1:{self.ports['amqp']}", USER, self.password) or ""
        return bool(self.version)


def server_version(host: str, user: str, password: str, virtual_host: str = "/", *, tls: bool = False) -> str | None:
    """Return the broker's version, None when it doesn't answer or isn't RabbitMQ."""
    connection = amqp.Connection(
        host=host,
        userid=user,
        password=password,
        virtual_host=virtual_host,
        ssl=tls,
        connect_timeout=3,
        read_timeout=3,
    )
    try:
        connection.connect()
    except (OSError, amqp.exceptions.AMQPError):
        return None
    with contextlib.closing(connection):
        version = connection.server_properties.get("version")  # type: ignore[attr-defined]  # amqp's stub lacks it
        return str(version) if version else None


def queue_type(version: str) -> str:
    """Return the queue type whose message priorities are strict on that RabbitMQ."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return "quorum" if numbers >= _QUORUM_PRIORITIES_FROM else "classic"


def installed_version() -> str | None:
    """Return the version of the RabbitMQ that find() finds, None where its folder's name doesn't tell."""
    root = programs.chroot() or Path("/")
    program = root / programs.find("rabbitmq-server", "rabbitmq-server").lstrip("/")
    for folder in (program.resolve().parents[1], program.resolve().parents[1] / "lib"):
        for path in (folder, *folder.glob("rabbitmq_server-*")):
            if path.name.startswith("rabbitmq_server-"):
                return path.name.removeprefix("rabbitmq_server-")
    return None
