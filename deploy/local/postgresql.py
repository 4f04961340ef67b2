"""Owns the private PostgreSQL: loopback only, a password, data that survives a crash (unless told otherwise).

PostgreSQL refuses to run as root, so root runs it as the user postgres or nobody, and its files then lie where that
user can reach them: under the home, or under /var/tmp where the home is closed to others.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

from deploy.local import programs
from deploy.local.errors import CannotStart, ServiceFailed
from deploy.local.processes import Daemon
from deploy.local.programs import User

NAME = "postgresql"
DATABASE = "tiercel"
USER = "tiercel"
_DEADLINE_S = 60.0
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def server_user() -> User | None:
    """Return the user to become, None when this process isn't root."""
    if os.geteuid() != 0:
        return None
    # The chroot's own list of users, if there is one: initdb looks its user up.
    known = ((programs.chroot() or Path("/")) / "etc/passwd").read_text().splitlines()
    users = {name: User(name, int(uid), int(gid)) for name, _, uid, gid, *_ in (line.split(":") for line in known)}
    for name in ("postgres", "nobody"):
        if name in users:
            return users[name]
    raise CannotStart("postgresql: it refuses to run as root, and there is no user postgres or nobody to run it as")


@dataclass
class PostgreSQL:
    """A private PostgreSQL of one home."""

    home: Path
    port: int
    password: str
    durable: bool = True
    _daemon: Daemon | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database."""
        return f"postgresql+psycopg2://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def folder(self) -> Path:
        """Where the data are, or would be."""
        user = server_user()
        if user is None or _reachable(self.home, user):
            return self.home / NAME
        # One folder for each home; its name can be guessed, so _own_folder() checks who owns it.
        key = hashlib.sha256(str(self.home).encode()).hexdigest()[:16]
        return Path("/var/tmp") / f"tiercel-postgresql-{key}"  # noqa: S108  # checked as said

    def start(self) -> None:
        """Start it, on first use with a new database, and return when it answers.

        Raises:
            CannotStart: the data are of another major version, or the server doesn't come up.
        """
        user = server_user()
        folder = self.folder
        _own_folder(folder, user)
        data = folder / "data"
        if not (data / "PG_VERSION").is_file():
            self._initdb(data, user)
        major = programs.major_version((data / "PG_VERSION").read_text())
        postgres = programs.find(NAME, "postgres", major=major)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
            **({} if self.durable else _NOT_DURABLE),
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self._daemon = Daemon(
            home=self.home,
            name=NAME,
            argv=programs.command([postgres, "-D", str(data), *options], user),
            env=_environment(folder),
            cwd=folder,
            # "Fast": clients are let go, the data are left clean. "Immediate": as a crash, but no shared memory stays.
            stop_signal=signal.SIGINT if self.durable else signal.SIGQUIT,
            **_drop(user),
        )
        self._daemon.start()
        self._daemon.wait_ready(self._answers, _DEADLINE_S)
        self._create_database()

    def stop(self) -> None:
        """Stop it."""
        if self._daemon:
            self._daemon.stop(grace_s=15)

    def destroy(self) -> None:
        """Remove its data."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _connect(self, database: str) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user=USER, password=self.password, dbname=database, connect_timeout=2
        )

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                raise CannotStart(
                    f"postgresql: the data in {self.folder} belong to another {self.home}/env; put that file back, "
                    f"or remove the data"
                ) from None
            return False
        return True

    def _create_database(self) -> None:
        with contextlib.closing(self._connect("postgres")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")
                # Whole pages in the log are compressed (docs/performance.md), where this server was built with lz4.
                # For the database: in the server's own settings it would keep one built without from starting.
                cursor.execute("SELECT 1 FROM pg_settings WHERE name = 'wal_compression' AND 'lz4' = ANY (enumvals)")
                if cursor.fetchone() is not None:
                    cursor.execute(f"ALTER DATABASE {DATABASE} SET wal_compression = 'lz4'")

    def _initdb(self, data: Path, user: User | None) -> None:
        # An initdb that was cut short leaves a folder without PG_VERSION, or one that it refuses to use.
        shutil.rmtree(data, ignore_errors=True)
        secret = data.parent / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        if user:
            os.chown(secret, user.uid, user.gid)
        argv = [programs.find(NAME, "initdb"), "-D", str(data), "--username", USER, "--pwfile", str(secret)]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", *([] if self.durable else ["--no-sync"])]
        log = self.home / "logs" / "initdb.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            drop = _drop(user)
            status = subprocess.run(
                programs.command(argv, user),
                env=_environment(data.parent),
                cwd=data.parent,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
                user=drop.get("user"),
                group=drop.get("group"),
                extra_groups=[] if drop else None,
            ).returncode
        secret.unlink()
        if status:
            shutil.rmtree(data, ignore_errors=True)
            raise ServiceFailed(NAME, f"initdb ended with status {status}", log)


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": programs.search_path(), "LC_ALL": "C", "HOME": str(folder), "TZ": "UTC"}


def _drop(user: User | None) -> dict[str, int]:
    # In a chroot, chroot(8) drops the privileges itself, after it has used them.
    return {} if user is None or programs.chroot() else {"user": user.uid, "group": user.gid}


def _reachable(home: Path, user: User) -> bool:
    home.mkdir(parents=True, exist_ok=True)
    argv = ["test", "-x", str(home)]
    return not subprocess.run(
        argv, user=user.uid, group=user.gid, extra_groups=[], cwd="/", check=False, capture_output=True
    ).returncode


def _own_folder(folder: Path, user: User | None) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
        if user:
            os.chown(folder, user.uid, user.gid)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != (user.uid if user else os.geteuid()):
        raise CannotStart(f"postgresql: {folder} isn't a folder of {user.name if user else 'this user'}; remove it")
