"""Owns the private Redis: loopback only, a password, nothing kept on disk (PostgreSQL is the truth)."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis as Client
from redis.exceptions import RedisError

from deploy.local import programs
from deploy.local.processes import Daemon

NAME = "redis"
_DEADLINE_S = 30.0


@dataclass
class Redis:
    """A private Redis of one home."""

    home: Path
    port: int
    password: str
    _daemon: Daemon | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Redis's URL."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            ServiceFailed: it doesn't come up.
        """
        folder = self.home / NAME
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = folder / "redis.conf"
        config.touch(mode=0o600)
        config.write_text(
            f'bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\ndir "{folder}"\n'
            'save ""\nappendonly no\ndaemonize no\nloglevel warning\n'
        )
        self._daemon = Daemon(
            home=self.home,
            name=NAME,
            argv=programs.command([programs.find("redis-server", "redis-server"), str(config)]),
            env={"PATH": programs.search_path(), "LC_ALL": "C", "HOME": str(folder)},
            cwd=folder,
        )
        self._daemon.start()
        self._daemon.wait_ready(self._answers, _DEADLINE_S)

    def stop(self) -> None:
        """Stop it."""
        if self._daemon:
            self._daemon.stop(grace_s=5)

    def _answers(self) -> bool:
        client = Client(host="127.0.0.1", port=self.port, password=self.password, socket_timeout=2, protocol=2)
        with contextlib.closing(client):
            try:
                return bool(client.ping())
            except RedisError:
                return False
