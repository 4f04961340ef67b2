"""Owns where the server programs are, and installing them where that can be done: as root on Debian and Ubuntu.

Standard library only: the bootstrap runs this module while pip still fills the virtual environment.
``TIERCEL_PG_BIN``, ``TIERCEL_RABBITMQ_BIN`` and ``TIERCEL_REDIS_BIN`` name folders to look in first;
``TIERCEL_CHROOT`` names a folder with a Debian in it whose programs are used instead of the machine's (as root).
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import CannotStart, ProgramMissing

SERVERS = {
    "postgresql": ("TIERCEL_PG_BIN", ["postgres", "initdb"]),
    # epmd, Erlang's name server, comes with RabbitMQ's Erlang.
    "rabbitmq-server": ("TIERCEL_RABBITMQ_BIN", ["rabbitmq-server", "epmd"]),
    "redis-server": ("TIERCEL_REDIS_BIN", ["redis-server"]),
}
_POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True)
class User:
    """Whom a server runs as when this process is root."""

    name: str
    uid: int
    gid: int


def chroot() -> Path | None:
    """Return the root of another Debian whose servers are to be used, if there is one."""
    path = os.environ.get("TIERCEL_CHROOT")
    return Path(path).absolute() if path else None


def search_path() -> str:
    """Return PATH with the folders that an ordinary user's PATH lacks."""
    own = [] if chroot() else [os.environ.get("PATH", "")]
    return os.pathsep.join([*own, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"])


def _folders(server: str, major: str | None) -> Iterator[Path]:
    variable, _ = SERVERS[server]
    if named := os.environ.get(variable):
        yield Path(named)
    root = chroot() or Path("/")
    if server == "postgresql":
        found = root.glob("usr/lib/postgresql/*/bin")
        by_version = sorted(found, key=lambda path: float(path.parent.name), reverse=True)
        yield from sorted(by_version, key=lambda path: path.parent.name != major)
    if server == "rabbitmq-server":
        # Not the one in /usr/sbin, which switches to the system's rabbitmq user.
        yield from [root / "usr/lib/rabbitmq/bin", root / "usr/local/opt/rabbitmq/sbin", root / "opt/rabbitmq/sbin"]
    if root != Path("/"):
        yield from (root / folder.lstrip("/") for folder in search_path().split(os.pathsep))
    else:
        yield from (Path(folder) for folder in search_path().split(os.pathsep) if folder)


def find(server: str, program: str, *, major: str | None = None) -> str:
    """Return a program's path, as seen inside the chroot if there is one; major prefers one PostgreSQL.

    Raises:
        ProgramMissing: it is nowhere.
    """
    for folder in _folders(server, major):
        path = folder / program
        if path.is_file() and os.access(path, os.X_OK):
            root = chroot()
            return f"/{path.relative_to(root)}" if root and path.is_relative_to(root) else str(path)
    raise ProgramMissing(f"{program} is missing ({server}). {_how_to_get(missing_servers() or [server])}")


def missing_servers() -> list[str]:
    """Return the servers (named as Debian's packages are) of which a program is missing."""
    missing = []
    for server, (_, needed) in SERVERS.items():
        present = {program for program in needed for folder in _folders(server, None) if (folder / program).is_file()}
        if present != set(needed):
            missing.append(server)
    return missing


def _how_to_get(servers: list[str]) -> str:
    names = " ".join(servers)
    return (
        f"On Debian or Ubuntu: sudo apt-get install --no-install-recommends {names}; on macOS: brew install "
        f"postgresql rabbitmq redis. Or use servers of your own: set DATABASE_URL, BROKER_URL and REDIS_URL."
    )


def command(argv: list[str], user: User | None = None) -> list[str]:
    """Return the argv that runs inside the chroot, if there is one, as that user."""
    root = chroot()
    if root is None:
        return argv
    userspec = [f"--userspec={user.uid}:{user.gid}"] if user else []
    return ["chroot", *userspec, str(root), *argv]


@contextlib.contextmanager
def _no_new_system_servers() -> Iterator[None]:
    # Debian starts a server the moment it is installed, unless policy-rc.d says 101. What ran before is left alone.
    kept = _POLICY.with_name("policy-rc.d.tiercel-kept")
    if _POLICY.exists():
        _POLICY.rename(kept)
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
        if kept.exists():
            kept.rename(_POLICY)


def _apt_get(*words: str) -> subprocess.CompletedProcess[str]:
    argv = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", *words]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def ensure(servers: list[str]) -> None:
    """Install those of the servers that are missing.

    Raises:
        CannotStart: it can't be done here; says what to install, or what apt-get said.
    """
    missing = [server for server in missing_servers() if server in servers]
    if not missing:
        return
    if chroot() or os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ProgramMissing(f"missing: {', '.join(missing)}. {_how_to_get(missing)}")
    print(f"installing     {' '.join(missing)} (apt-get; the system's own instances stay off)", flush=True)
    install = ["install", "-y", "--no-install-recommends", *missing]
    with _no_new_system_servers():
        result = _apt_get(*install)
        if result.returncode:
            # No package lists yet, or old ones.
            updated = _apt_get("update")
            result = _apt_get(*install)
            # A failing update is the reason where there is one.
            result.stderr += updated.stderr if updated.returncode else ""
    if result.returncode or set(missing_servers()) & set(servers):
        said = (result.stdout + result.stderr).strip().splitlines()[-5:]
        raise CannotStart("\n".join([f"apt-get {' '.join(install)} failed:", *said]))


def wanted(environ: dict[str, str]) -> list[str]:
    """Return the servers that must be private because no URL of one's own is set."""
    urls = {"DATABASE_URL": "postgresql", "BROKER_URL": "rabbitmq-server", "REDIS_URL": "redis-server"}
    return [server for variable, server in urls.items() if not environ.get(variable)]


def major_version(text: str) -> str:
    """Return the first number of a version, as in PostgreSQL's PG_VERSION."""
    match = re.match(r"\d+", text)
    return match.group() if match else ""


if __name__ == "__main__":
    try:
        ensure(wanted(dict(os.environ)))
    except CannotStart as error:
        sys.exit(f"tiercel: {error}")
