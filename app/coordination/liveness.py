"""Owns the judgement whether a process that lives also works. It decides; who restarts is whoever asked.

"Queue not empty, nothing taken" is what a worker looks like that hangs; a loop that doesn't turn is what a frozen
process looks like. While the service that it needs is away, neither says anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from amqp.exceptions import AMQPError
from kombu.exceptions import KombuError
from sqlalchemy import Engine, text

from app.coordination.heartbeat_file import HeartbeatFile
from app.db.pipeline import autocommit
from app.errors import TiercelError
from app.messaging.publisher import Publisher
from app.models import Lane

TAKES_NOTHING_S = 5.0
"""How long a queue may be seen not empty while an idle worker takes nothing from it."""
SILENT_S = 30.0
"""How long a process may give no sign of life."""
BLIND_S = 10.0
"""After so long without a look (its own process was frozen, or the whole machine) what it saw before says nothing."""
HELD_S = 75.0
"""How long a worker may hold a message: Celery kills what runs for 60 s (``task_time_limit``)."""


@dataclass(slots=True)
class LivenessCheck:
    """Looks again and again, and remembers since when what it saw has been so."""

    _working: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By pid: messages taken, and when that last grew, or the queue was last seen empty."""
    _reachable_since: float | None = None
    _looked_at: float | None = None

    def worker(self, pulse: HeartbeatFile, waiting: int | None, now: float) -> str | None:
        """Return what is wrong with a worker, or None.

        ``waiting`` is how many messages are ready in its queue, None where the broker doesn't answer; ``now`` is
        monotonic. Look every few seconds.
        """
        self._look(now)
        if waiting is None:
            self.away()
            return None
        silent_s = self._silent_s(pulse, now)
        if silent_s > SILENT_S:
            return f"no sign of life for {silent_s:.0f} s"
        if pulse.oldest_s > HELD_S:
            return f"it has held a message for {pulse.oldest_s:.0f} s"
        taken, since = self._working.get(pulse.pid, (-1, now))
        if pulse.taken != taken or not waiting or (pulse.busy and silent_s <= TAKES_NOTHING_S):
            taken, since = pulse.taken, now
        self._working[pulse.pid] = (taken, since)
        if now - since > TAKES_NOTHING_S:
            return f"{waiting} messages wait, and it has taken none for {now - since:.0f} s"
        return None

    def check_loop(self, pulse: HeartbeatFile, *, reachable: bool, now: float) -> str | None:
        """Return what is wrong with a dispatcher or beat, or None; ``reachable`` says whether the database answers."""
        self._look(now)
        if not reachable:
            self.away()
            return None
        silent_s = self._silent_s(pulse, now)
        return f"no sign of life for {silent_s:.0f} s" if silent_s > SILENT_S else None

    def away(self) -> None:
        """Say that the service it needs doesn't answer: all begins anew when it does."""
        self._working.clear()
        self._reachable_since = None

    def _look(self, now: float) -> None:
        if self._looked_at is not None and now - self._looked_at > BLIND_S:
            self.away()
        self._looked_at = now

    def _silent_s(self, pulse: HeartbeatFile, now: float) -> float:
        if self._reachable_since is None:
            self._reachable_since = now
        return now - max(pulse.at, self._reachable_since)


def ready(publisher: Publisher) -> Mapping[Lane, int] | None:
    """Return how many messages are ready in each lane's queue, None where the broker doesn't answer."""
    try:
        return {lane: messages for lane, (_, messages) in publisher.queues().items()}
    except (AMQPError, KombuError, OSError):
        return None


def answers(engine: Engine) -> bool:
    """Tell whether the database answers."""
    try:
        with autocommit(engine) as session:
            session.execute(text("SELECT 1"))
    except TiercelError:
        return False
    return True
