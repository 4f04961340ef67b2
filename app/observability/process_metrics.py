"""Owns what a process counts about itself: numbers in files that every process of this home shares.

Each process has files of its own under ``$TIERCEL_HOME/metrics`` (prometheus_client's multiprocess form:
memory-mapped, so that a process that is killed loses nothing of what it had reported). A process that never called
``begin`` counts nothing: commands and tests write no files. What can be read off the event table is never counted
here, but in ``app/reporting/outcomes.py``: a count beside a transaction is never quite right.
"""

import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram, values

from config.settings import settings, tiercel_home

_LOG = structlog.get_logger()
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of every histogram, in seconds."""
OTHER = "other"
"""Stands for every name that a stranger chose."""
_SAMPLE_EVERY_S = 5.0
_STRANGERS_KEPT_S = 3600.0
"""How long files of another host (a container that is gone) are kept after the last write."""
_RESERVED_BYTES = 512 * 1024
"""Room for some 2,000 series of each kind; the library takes more where that isn't enough."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Measure(ABC):
    """One metric of processes; the label ``group`` is added to its own."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    _made: Any = None
    _group: str = ""
    _children: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def _open(self, group: str) -> None:
        self._group, self._children, self._made = group, {}, self._make()

    @abstractmethod
    def _make(self) -> Any: ...

    def _child(self, given: tuple[str, ...]) -> Any:
        child = self._children.get(given)
        if child is None:
            child = self._children[given] = self._made.labels(*given, self._group)
        return child


class CounterMetric(Measure):
    """A number that only grows."""

    def add(self, *labels: str, count: float = 1) -> None:
        """Add to the count."""
        if self._made is not None:
            self._child(labels).inc(count)

    def _make(self) -> Any:
        return Counter(self.name, self.help, (*self.labels, "group"), registry=None)


class HistogramMetric(Measure):
    """How long something takes, as a histogram."""

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one duration, in seconds."""
        if self._made is not None:
            self._child(labels).observe(seconds)

    def _make(self) -> Any:
        return Histogram(self.name, self.help, (*self.labels, "group"), buckets=BUCKETS_S, registry=None)


class GaugeMetric(Measure):
    """A number as it is now, summed over the living processes of a group."""

    def set(self, value: float, *labels: str) -> None:
        """Say how it is now."""
        if self._made is not None:
            self._child(labels).set(value)

    def _make(self) -> Any:
        names = (*self.labels, "group")
        return Gauge(self.name, self.help, names, multiprocess_mode="livesum", registry=None)


RECEIVED = CounterMetric(
    "tiercel_events_received_total", "Verified events, by what the store made of them.", ("source", "result")
)
REFUSED = CounterMetric("tiercel_requests_refused_total", "Webhook requests that were refused.", ("source", "reason"))
ANSWERED = CounterMetric(
    "tiercel_http_requests_total", "HTTP requests that were answered.", ("route", "method", "status")
)
ANSWER = HistogramMetric("tiercel_http_request_seconds", "From the request's headers to its answer.", ("route",))
COMMIT = HistogramMetric("tiercel_store_commit_seconds", "A group commit of the receiver.")
OUTBOX = GaugeMetric("tiercel_outbox_pointers", "Pointers that wait in the receiver to be published.")
ATTEMPTS = CounterMetric("tiercel_attempts_total", "Attempts of workers at events, by how they ended.", ("result",))
LOCKS = CounterMetric("tiercel_lock_tries_total", "Tries for an entity's lock, by how they ended.", ("result",))
LOCK_WAIT = HistogramMetric("tiercel_lock_wait_seconds", "What a try for an entity's lock took.")
CONNECTIONS = GaugeMetric("tiercel_database_pool_in_use", "Connections taken out of the pools.")
MEMORY = GaugeMetric("tiercel_process_resident_memory_bytes", "Resident memory of the group's processes.")

MEASURES: tuple[Measure, ...] = (
    RECEIVED,
    REFUSED,
    ANSWERED,
    ANSWER,
    COMMIT,
    OUTBOX,
    ATTEMPTS,
    LOCKS,
    LOCK_WAIT,
    CONNECTIONS,
    MEMORY,
)
_sampled_at = -_SAMPLE_EVERY_S


def folder() -> Path:
    """Return where the processes of this home keep their numbers."""
    return tiercel_home() / "metrics"


def files() -> list[str]:
    """Return the files of all processes of this home."""
    return [str(path) for path in sorted(folder().glob("*.db"))]


def begin(group: str, *, main: int, slot: int) -> None:
    """Let this process count, after the fork.

    ``main`` is the group's first process, ``slot`` tells its processes apart. One that follows another in its slot
    goes on with its numbers, so that they never shrink while the group lives.
    """
    global _sampled_at  # noqa: PLW0603  # one clock a process
    if not settings().metrics:
        return
    _sampled_at = -_SAMPLE_EVERY_S
    here, name = folder(), _identity(group, main, slot)
    try:
        here.mkdir(parents=True, exist_ok=True)
        _remove_left_over(here)
        _reserve(here, name)
    except OSError as error:
        # Better unseen than down.
        _LOG.warning("this process counts nothing", action="metrics_off", error=repr(error))
        return
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(here)  # the library reads it from nowhere else
    values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]
    for measure in MEASURES:
        measure._open(group)  # noqa: SLF001  # the module's own


def end() -> None:
    """Let this process count no longer; its numbers stay."""
    for measure in MEASURES:
        measure._made = None  # noqa: SLF001  # the module's own


def sample(in_use: Callable[[], int]) -> bool:
    """Note this process's memory and the connections that it uses, every few seconds; tell whether it was time."""
    global _sampled_at  # noqa: PLW0603  # one clock a process
    now = time.monotonic()
    if MEMORY._made is None or now < _sampled_at + _SAMPLE_EVERY_S:  # noqa: SLF001  # the module's own
        return False
    _sampled_at = now
    CONNECTIONS.set(in_use())
    with suppress(OSError, ValueError, IndexError):
        MEMORY.set(int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES)
    return True


def named(name: str, known: Container[str]) -> str:
    """Return a name that is known, and one word for all others: what strangers send must not make new series."""
    return name if name in known else OTHER


def _host() -> str:
    return socket.gethostname().replace("_", "-")


def _identity(group: str, main: int, slot: int) -> str:
    # The library takes the parts of a file's name apart at the underscores.
    return f"{group.replace('_', '-')}~{main}~{slot}~{_host()}"


def _remove_left_over(here: Path) -> None:
    """Remove the files of groups that have ended, and of dead processes what counts only while they live."""
    for path in here.glob("*.db"):
        kind, _, rest = path.stem.partition("_")
        parts = rest.rpartition("_")[2].split("~")
        with suppress(OSError, ValueError):
            if len(parts) != 4 or parts[3] != _host():  # noqa: PLR2004  # see _identity
                gone = time.time() - path.stat().st_mtime > _STRANGERS_KEPT_S
            else:
                gone = not _is_alive(int(parts[1])) or (kind == "gauge" and _is_dead_process(parts))
            if gone:
                path.unlink()


def _reserve(here: Path, name: str) -> None:
    """Take the disk that the files need now: a mapped file that finds none later kills its process (SIGBUS)."""
    for kind in ("counter", "histogram", "gauge_livesum"):
        with (here / f"{kind}_{name}.db").open("ab") as file:
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, _RESERVED_BYTES)


def _is_dead_process(parts: Sequence[str]) -> bool:
    # Small slots are seats of a pool, which the next process takes; others are process ids.
    seat = int(parts[2])
    return seat > _SEATS and not _is_alive(seat)


_SEATS = 1024


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True
