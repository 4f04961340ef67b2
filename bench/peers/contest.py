"""Owns running a peer: its tables and queue made anew, its processes, its door, and when it is done.

Every peer has the private servers of the run, as many worker processes as ours, and the same gunicorn.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kombu import Connection
from sqlalchemy import text

from app.sources.kinds.kind import Config
from bench.harness.children import ROOT, program, running, served
from bench.harness.events import Stream
from bench.harness.system import depth, settle
from bench.harness.target import NotRunning, Sender, Target
from bench.peers.door import SECRET
from bench.peers.shop import SCHEMA, Base

PROCESSES = 4
"""As ours has: two for high, one for medium, one for low."""
_DONE_S = 1800.0
_QUIET_S = 1.0
_CELERY = ("worker", "--concurrency", str(PROCESSES), "--without-gossip", "--without-mingle", "--loglevel", "WARNING")
# Its own program doesn't look for modules here.
_PROCRASTINATE = (sys.executable, "-m", "procrastinate", "--app")
_JOBS_LEFT = f"SELECT count(*) FROM {SCHEMA}.procrastinate_jobs WHERE status IN ('todo', 'doing')"


@dataclass(frozen=True, slots=True)
class Peer:
    """One of those that are measured beside ours."""

    letter: str
    name: str
    module: str

    @property
    def label(self) -> str:
        """How tables call it."""
        return f"peer {self.letter}"

    @property
    def queue(self) -> str:
        """Its queue in RabbitMQ."""
        return f"{SCHEMA}.{self.module.removeprefix('on_')}"

    def worker_commands(self) -> list[list[str]]:
        """Return what starts its workers."""
        module = f"bench.peers.{self.module}"
        if self.module == "on_dramatiq":
            return [[program("dramatiq"), module, "--processes", str(PROCESSES), "--queues", self.queue]]
        if self.module == "on_procrastinate":
            # Two lines a job are its default; the others say nothing either.
            quiet = ("--log-level", "warning")
            return [[*_PROCRASTINATE, f"{module}.app", *quiet, "worker", "--concurrency", "8"]] * PROCESSES
        return [[program("celery"), "--app", f"{module}:celery", "--quiet", *_CELERY]]


TUTORIAL = Peer("a", "Flask + Celery .delay(), no inbox", "tutorial")
INBOX = Peer("b", "the same with an inbox row and publisher confirms", "inbox")
DRAMATIQ = Peer("c", "dramatiq on RabbitMQ", "on_dramatiq")
PROCRASTINATE = Peer("d", "procrastinate on PostgreSQL", "on_procrastinate")


@dataclass(slots=True)
class Contest:
    """A peer on the servers of the system that is measured."""

    peer: Peer
    target: Target
    stream: Stream
    port: int = 0

    @property
    def label(self) -> str:
        """How tables call it."""
        return self.peer.label

    @property
    def host(self) -> str:
        """Where its door is."""
        return "127.0.0.1"

    def behind(self) -> int:
        """Return how many events wait in its queue."""
        if self.peer is PROCRASTINATE:
            with self.target.engine.connect() as connection:
                return int(connection.execute(text(_JOBS_LEFT)).scalar_one())
        return depth(self.target.settings.broker_url, self.peer.queue)

    def settle(self) -> None:
        """Return once nothing waits any more and nothing is written.

        Raises:
            NotRunning: something still does after half an hour.
        """
        settle(self.behind, _DONE_S, f"is {self.label} stuck?")
        before = None
        while before != (before := self.applied()):
            time.sleep(_QUIET_S)

    def applied(self) -> tuple[int, float]:
        """Return how many entities there are, and the seconds between the first and the last write that stands."""
        query = f"SELECT count(*), extract(epoch FROM max(applied_at) - min(applied_at)) FROM {SCHEMA}.entity"
        with self.target.engine.connect() as connection:
            count, span_s = connection.execute(text(query)).one()
        return int(count), float(span_s or 0.0)

    def fill(self, count: int) -> int:
        """Put so many events into its queue; returns how many entities they are about."""
        command = [sys.executable, "-m", "bench.peers.fill", self.peer.module, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode:
            raise NotRunning(f"{self.peer.label} can't be filled:\n{done.stderr[-1500:]}")
        return int(done.stdout)

    def drain(self, count: int) -> float:
        """Let its workers apply so many waiting events; return how many a second.

        Raises:
            NotRunning: something was lost.
        """
        wanted = self.fill(count)
        with self.workers():
            self.settle()
        entities, span_s = self.applied()
        if entities != wanted:
            raise NotRunning(f"{self.peer.label} has {entities} entities of {wanted}")
        return count / span_s if span_s else 0.0

    @contextmanager
    def workers(self) -> Iterator[Sequence[int]]:
        """Run its workers."""
        with running(self.peer.worker_commands(), lambda: True) as pids:
            yield pids

    @contextmanager
    def door(self) -> Iterator[int]:
        """Serve its receiver; yields the pid."""
        with served(f"bench.peers.{self.peer.module}:flask_app") as (pid, self.port):
            yield pid


@contextmanager
def contest(peer: Peer, target: Target) -> Iterator[Contest]:
    """Make a peer's tables and queue anew, and remove them afterwards."""
    _remove(peer, target)
    with target.engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        Base.metadata.create_all(connection)
    if peer is PROCRASTINATE:
        command = [*_PROCRASTINATE, f"bench.peers.{peer.module}.app", "schema", "--apply"]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    else:
        with _channel(target) as channel:
            channel.queue_declare(peer.queue, durable=True, auto_delete=False, arguments=_arguments(peer))
    try:
        yield Contest(peer, target, Stream(Sender("bench", "standard", SECRET, Config())))
    finally:
        _remove(peer, target)


def _arguments(peer: Peer) -> dict[str, str]:
    # As its own library declares it: RabbitMQ refuses any other.
    if peer is not DRAMATIQ:
        return {}
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{peer.queue}.XQ"}


def _remove(peer: Peer, target: Target) -> None:
    with _channel(target) as channel:
        for name in (peer.queue, f"{peer.queue}.DQ", f"{peer.queue}.XQ"):
            channel.queue_delete(name)
    with target.engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))


@contextmanager
def _channel(target: Target) -> Iterator[Any]:
    with Connection(target.settings.broker_url) as connection:
        yield connection.default_channel
