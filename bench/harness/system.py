"""Owns the system that `make bench` measures: its processes, what waits in it, and holding parts of it still."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from celery import Celery
from kombu import Connection
from sqlalchemy import text

from app.messaging.messages import queue_name
from app.models import Lane, Status
from bench.harness.events import Stream
from bench.harness.target import NotRunning, Sender, Target
from deploy.local import procfile
from deploy.local.processes import wait_until

_ROOT = Path(__file__).parents[2]
_SETTLE_S = 900.0
_CONTROL_S = 60.0
_ASK_S = 0.1
_OPEN_S = 5.0
# Each count reads a partial index over what waits, never the whole table.
_WAITING = text(f"""
SELECT (SELECT count(*) FROM event WHERE status = {Status.PENDING:d} AND dispatched_at IS NULL)
     + (SELECT count(*) FROM event WHERE status = {Status.PENDING:d} AND dispatched_at IS NOT NULL)
     + (SELECT count(*) FROM event WHERE status = {Status.PROCESSING:d})
""")
_ENDED = text("""
SELECT e.lane, extract(epoch FROM e.finished_at - e.received_at) * 1000
FROM event e JOIN source s ON s.id = e.source_id
WHERE s.name = :source AND e.status = :completed AND e.received_at >= to_timestamp(:since)
""")
_SPAN = text("""
SELECT count(*), extract(epoch FROM max(e.finished_at) - min(e.finished_at))
FROM event e JOIN source s ON s.id = e.source_id
WHERE s.name = :source AND e.finished_at >= to_timestamp(:since)
""")


@dataclass(slots=True)
class System:
    """A running Tiercel, as one of those who are measured; ``stream`` is what it is sent."""

    target: Target
    stream: Stream
    home: Path

    @property
    def label(self) -> str:
        """How tables call it."""
        return "Tiercel"

    @property
    def host(self) -> str:
        """Where the receiver listens."""
        return self.target.host

    @property
    def port(self) -> int:
        """Its port."""
        return self.target.port

    @property
    def sender(self) -> Sender:
        """Whose events these are."""
        return self.stream.sender

    def behind(self) -> int:
        """Return how many accepted events have not ended."""
        with self.target.engine.connect() as connection:
            return int(connection.execute(_WAITING).scalar_one())

    def undispatched(self) -> int:
        """Return how many events wait for the dispatcher to publish them."""
        query = text(f"SELECT count(*) FROM event WHERE status = {Status.PENDING:d} AND dispatched_at IS NULL")
        with self.target.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def settle(self) -> None:
        """Return once nothing waits any more.

        Raises:
            NotRunning: something still does after 15 minutes.
        """
        settle(self.behind, _SETTLE_S, "do the workers run?")
        # The dispatcher opens the lanes again a moment after the last event.
        wait_until(self._lanes_open, _OPEN_S)

    def ended_ms(self, since: float) -> dict[Lane, list[float]]:
        """Return acceptance → applied, in ms, by lane, of what was received since a Unix time."""
        values: dict[str, Any] = {"source": self.sender.name, "completed": int(Status.COMPLETED), "since": since}
        found: dict[Lane, list[float]] = {}
        with self.target.engine.connect() as connection:
            for lane, took_ms in connection.execute(_ENDED, values):
                found.setdefault(Lane(lane), []).append(float(took_ms))
        return found

    def ended_over(self, since: float) -> tuple[int, float]:
        """Return how many events ended since a Unix time, and the seconds between the first and the last end."""
        with self.target.engine.connect() as connection:
            count, span_s = connection.execute(_SPAN, {"source": self.sender.name, "since": since}).one()
        return int(count), float(span_s or 0.0)

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the living processes of each line of the Procfile, and `make up` itself."""
        # Each line of the Procfile runs in a session of its own, whose leader's pid is kept there.
        records = {name: self.home / "run" / name for name in procfile.read(_ROOT / "Procfile")}
        leaders = {int(file.read_text().split()[0]): name for name, file in records.items() if file.is_file()}
        found: dict[str, list[psutil.Process]] = {name: [] for name in records}
        for pid in psutil.pids():
            with suppress(OSError, psutil.NoSuchProcess):
                if name := leaders.get(os.getsid(pid)):
                    found[name].append(psutil.Process(pid))
        with suppress(OSError, ValueError, psutil.NoSuchProcess):
            found["make up"] = [psutil.Process(int((self.home / "lock").read_text()))]
        return found

    def pss_mb(self) -> dict[str, float]:
        """Return each process group's proportional share of memory, in MB."""
        return {
            name: sum(_pss_kb(process.pid) for process in processes) / 1024
            for name, processes in self.processes().items()
        }

    @contextmanager
    def door_alone(self) -> Iterator[None]:
        """Let no worker take anything and the dispatcher stand still; every event is published as it comes in."""
        with self._consumers_off(), self.dispatcher_still():
            self._set_lanes(is_open=True)
            try:
                yield
            finally:
                self._take_back()

    @contextmanager
    def nothing_moves(self) -> Iterator[None]:
        """Let events only be stored: no worker takes any, and no pointer to them is published."""
        with self._consumers_off(), self.dispatcher_still():
            self._set_lanes(is_open=False)
            yield

    @contextmanager
    def dispatcher_still(self) -> Iterator[None]:
        """Hold the dispatcher between two transactions, and who would start one anew that stands still."""
        processes = self.processes()
        dispatcher, supervisor = processes["dispatcher"], processes.get("make up", [])
        if not dispatcher:
            raise NotRunning("there is no dispatcher to hold still: make bench measures what make up starts")
        try:
            _signal(supervisor, signal.SIGSTOP)
            while True:
                _signal(dispatcher, signal.SIGSTOP)
                with self.target.engine.connect() as connection:
                    count = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
                    if not connection.execute(text(count)).scalar_one():
                        break
                _signal(dispatcher, signal.SIGCONT)
                time.sleep(0.01)
            yield
        finally:
            _signal(dispatcher, signal.SIGCONT)
            _signal(supervisor, signal.SIGCONT)

    def _lanes_open(self) -> bool:
        with self.target.engine.connect() as connection:
            return bool(connection.execute(text("SELECT bool_and(open) FROM lane")).scalar_one())

    def _take_back(self) -> None:
        """Take every pointer out of the queues; the dispatcher sends them again, many to a message."""
        with Connection(self.target.settings.broker_url) as connection:
            channel: Any = connection.default_channel
            for lane in Lane:
                channel.queue_purge(queue_name(lane))
        with self.target.engine.begin() as session:
            session.execute(text(f"UPDATE event SET dispatched_at = NULL WHERE status = {Status.PENDING:d}"))

    def _set_lanes(self, *, is_open: bool) -> None:
        with self.target.engine.begin() as connection:
            connection.execute(text("UPDATE lane SET open = :open"), {"open": is_open})

    @contextmanager
    def _consumers_off(self) -> Iterator[None]:
        celery = Celery("bench", broker=self.target.settings.broker_url, set_as_current=False)
        celery.conf.update(control_queue_durable=True, control_queue_exclusive=False)
        try:
            taken = _queues_of(celery)
            for node, queues in taken.items():
                for queue in queues:
                    celery.control.cancel_consumer(queue, destination=[node])
            self._await_consumers(lambda count: count == 0, "still listen")
            try:
                yield
            finally:
                for node, queues in taken.items():
                    for queue in queues:
                        celery.control.add_consumer(queue, destination=[node])
                self._await_consumers(lambda count: count > 0, "don't listen again")
        finally:
            celery.close()

    def _await_consumers(self, enough: Any, complaint: str) -> None:
        def done() -> bool:
            with Connection(self.target.settings.broker_url) as connection:
                channel: Any = connection.default_channel
                names = [queue_name(lane) for lane in Lane]
                return all(enough(channel.queue_declare(name, passive=True).consumer_count) for name in names)

        if not wait_until(done, _CONTROL_S):
            raise NotRunning(f"after {_CONTROL_S:g} s workers {complaint}")


def settle(behind: Callable[[], int], within_s: float, question: str) -> None:
    """Return once nothing waits any more; asks seldom, since asking costs those who work.

    Raises:
        NotRunning: something still does.
    """
    end = time.monotonic() + within_s
    while left := behind():
        if time.monotonic() > end:
            raise NotRunning(f"{left} events still wait after {within_s:g} s: {question}")
        time.sleep(_ASK_S)


def _queues_of(celery: Celery) -> dict[str, list[str]]:
    """Return which worker listens on which queues; on a busy machine they don't all answer the first time.

    Raises:
        NotRunning: nobody says to listen on one of them.
    """
    taken: dict[str, list[str]] = {}

    def all_told() -> bool:
        nodes = celery.control.inspect(timeout=1.0).active_queues() or {}
        taken.update({node: [queue["name"] for queue in queues] for node, queues in nodes.items()})
        return {queue_name(lane) for lane in Lane} <= {name for names in taken.values() for name in names}

    if not wait_until(all_told, _CONTROL_S):
        raise NotRunning("there isn't a worker for each lane that answers")
    return taken


def depth(broker_url: str, queue: str) -> int:
    """Return how many messages wait in a queue."""
    with Connection(broker_url) as connection:
        channel: Any = connection.default_channel
        return int(channel.queue_declare(queue, passive=True).message_count)


def cpu_s(pid: int) -> float:
    """Return the processor time that a process and its children have used."""
    process = psutil.Process(pid)
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def _signal(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        process.send_signal(number)


def _pss_kb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return float(next((line.split()[1] for line in lines if line.startswith("Pss:")), 0))
