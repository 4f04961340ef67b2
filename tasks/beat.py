"""Owns beat's schedule: of many beats one is active, and periodic work is started once a period, whoever starts it.

When it last ran is in the database, claimed by one statement: a beat that froze and wakes up finds its turn taken.
"""

from datetime import datetime
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from sqlalchemy import Connection, Engine, text

from app.coordination import heartbeat_file
from app.coordination.heartbeat_file import HeartbeatFile
from app.coordination.leader_election import POLL_S, STALE_S, Role, Standby
from app.db.engine import database_errors, make_engine
from app.errors import TiercelError
from config.settings import settings

_LOG = structlog.get_logger()
_RAN = text("SELECT ran_at FROM periodic_run WHERE name = :name")
# Half a period of tolerance: beats' clocks may differ a little, a turn may come a little late.
_CLAIM = text("""
INSERT INTO periodic_run (name, ran_at) VALUES (:name, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET ran_at = excluded.ran_at
WHERE periodic_run.ran_at < clock_timestamp() - make_interval(secs => :period_s / 2)
RETURNING name
""")
_UNCLAIM = text("UPDATE periodic_run SET ran_at = to_timestamp(0) WHERE name = :name")


class LeadingScheduler(Scheduler):
    """Celery's schedule, run by whichever beat leads."""

    def __init__(self, *words: Any, **options: Any) -> None:
        self._engine: Engine = make_engine(settings().database_url, pool_size=1)
        self._standby = Standby(self._engine, Role.BEAT)
        super().__init__(*words, **options)

    def setup_schedule(self) -> None:
        """Take our own schedule and nothing else."""
        self.merge_inplace(self.app.conf.beat_schedule)

    def tick(self, *words: Any, **options: Any) -> float:
        """Start what is due, if this beat leads; return the seconds until the next look."""
        heartbeat_file.write(HeartbeatFile("beat"))
        try:
            took = self._standby.step()
            if took is None:
                return POLL_S
            if took:
                _LOG.info("this beat leads", action="beat_leads")
                self._remember(self._standby.connection)
            next_s: float = super().tick(*words, **options)
        except TiercelError as error:
            _LOG.warning("beat waits for the database", action="beat_waits", error=repr(error))
            return POLL_S
        # Soon again, to give a sign of life.
        return min(next_s, STALE_S / 5)

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:  # noqa: ARG002  # see producer below
        """Start one piece of work, unless its turn has been taken; what the broker didn't take is tried again."""
        schedule: Any = entry.schedule
        values = {"name": entry.name, "period_s": schedule.run_every.total_seconds()}
        with database_errors():
            if self._standby.connection.execute(_CLAIM, values).one_or_none() is None:
                return
        try:
            self.apply_async(entry, advance=False)
        except (SchedulingError, OSError) as error:
            _LOG.warning("periodic work wasn't started", action="beat_waits", name=entry.name, error=repr(error))
            with database_errors():
                self._standby.connection.execute(_UNCLAIM, {"name": entry.name})
            self.schedule[str(entry.name)].last_run_at = entry.last_run_at
            self._heap = None

    @property
    def producer(self) -> None:  # type: ignore[override]  # said below
        """None: Celery's own would wait for a broker that is away, while nobody hears that this beat lives."""

    def close(self) -> None:
        """Stop leading."""
        self._standby.close()
        self._engine.dispose()
        super().close()

    def _remember(self, connection: Connection) -> None:
        for entry in self.schedule.values():
            with database_errors():
                ran_at: datetime | None = connection.execute(_RAN, {"name": entry.name}).scalar_one_or_none()
            entry.last_run_at = datetime.fromtimestamp(0, entry.default_now().tzinfo) if ran_at is None else ran_at
        self._heap = None
