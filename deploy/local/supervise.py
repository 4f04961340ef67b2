"""Owns that what ends or hangs under `make up` is started again, and when that is given up.

A watcher thread looks at the pulses of workers, dispatcher and beat, and kills what lives but doesn't work; the
loop of `make up` starts again whatever ended. docker compose and Kubernetes do the same with `tiercel health`.
"""

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event, Thread

from app.coordination import heartbeat_file, liveness
from app.coordination.liveness import LivenessCheck
from app.db.engine import make_engine
from app.messaging.messages import queue_name
from app.messaging.publisher import Publisher
from app.models import Lane
from config.settings import Settings
from deploy.local.errors import CannotStart
from deploy.local.processes import end_session

_WATCH_S = 2.0
QUICK_S = 10.0
"""What ends sooner after its start counts as one that can't run."""
TRIES = 5
"""So many quick ends in a row, and it is given up."""
_WAITS_S = (0.0, 1.0, 2.0, 4.0)


@dataclass
class Restarts:
    """When each process was started last, and how often in a row it ended soon."""

    clock: Callable[[], float] = time.monotonic
    _started: dict[str, float] = field(default_factory=dict)
    _quick: dict[str, int] = field(default_factory=dict)
    _due: dict[str, float] = field(default_factory=dict)

    def started(self, name: str) -> None:
        """Remember a start."""
        self._started[name] = self.clock()
        self._due.pop(name, None)

    def is_due(self, name: str, how: str) -> bool:
        """Tell whether to start again, now, one that has ended.

        Raises:
            CannotStart: it ends again and again.
        """
        if name not in self._due:
            quick = self.clock() - self._started.get(name, 0.0) < QUICK_S
            self._quick[name] = self._quick.get(name, 0) + 1 if quick else 0
            if self._quick[name] >= TRIES:
                raise CannotStart(f"{name} ended by itself with {how}, again and again (its last lines are above)")
            wait_s = _WAITS_S[min(self._quick[name], len(_WAITS_S) - 1)]
            self._due[name] = self.clock() + wait_s
        return self.clock() >= self._due[name]


class Watcher:
    """A thread that kills what lives but doesn't work."""

    def __init__(
        self, settings: Settings, processes: Callable[[], Mapping[int, str]], say: Callable[[str, str], None]
    ) -> None:
        self._settings, self._processes, self._say = settings, processes, say
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End; a look that is under way isn't waited for long."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        judge = LivenessCheck()
        settings = self._settings
        engine = make_engine(settings.database_url, pool_size=1)
        try:
            with Publisher(settings.broker_url, settings.broker_queue_type) as publisher:
                while not self._stopped.wait(_WATCH_S):
                    for pid, reason in look(judge, liveness.ready(publisher), reachable=liveness.answers(engine)):
                        self._end(pid, reason)
        finally:
            engine.dispose()

    def _end(self, pid: int, reason: str) -> None:
        name = self._processes().get(pid)
        if name is not None:
            self._say(name, f"lives but doesn't work: {reason}; ending it")
            end_session(pid, signal.SIGKILL, 0)


def look(judge: LivenessCheck, queues: Mapping[Lane, int] | None, *, reachable: bool) -> list[tuple[int, str]]:
    """Return what lives here but doesn't work: pid, and what is wrong with it."""
    now = time.monotonic()
    found = [
        (one.pid, judge.worker(one, None if queues is None else queues[lane], now))
        for lane in Lane
        for one in heartbeat_file.read(queue_name(lane))
    ]
    loops = [one for name in ("dispatcher", "beat") for one in heartbeat_file.read(name)]
    found += [(one.pid, judge.check_loop(one, reachable=reachable, now=now)) for one in loops]
    return [(pid, reason) for pid, reason in found if reason]
