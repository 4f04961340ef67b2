"""Owns the dispatcher: a loop of its own that keeps each lane's window full and forgets no event.

One is active at a time, under a PostgreSQL advisory lock; the others stand by. It is woken by NOTIFY, by the next
event that becomes due, and at least every ``dispatch_interval_s``. It never bumps a generation.
"""

import select
import time
from collections import Counter
from dataclasses import dataclass, field
from threading import Event as Flag
from typing import Any

import psycopg2
import structlog
from amqp.exceptions import AMQPError
from kombu.exceptions import KombuError
from sqlalchemy import text
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set

from app.coordination import heartbeat_file
from app.coordination.heartbeat_file import HeartbeatFile
from app.coordination.leader_election import POLL_S, Heartbeat, Role, Standby
from app.db.engine import database_errors
from app.db.pipeline import pipelined_transaction
from app.dispatcher.lane_share import LaneShare
from app.dispatcher.refill import Refill
from app.errors import Busy, TiercelError, Unavailable
from app.inbox import ages, deadlines, due, replays
from app.inbox.due import LaneLoad
from app.inbox.wake import CHANNEL
from app.messaging.pointer import Dispatch
from app.models import Lane
from app.observability import process_metrics, tracing
from app.reporting import kpis, outcomes
from app.reporting.outcomes import Step
from app.resources import Resources

_LOG = structlog.get_logger()
_STUCK_S = 30.0
"""One step takes no longer, whatever the broker does: a publish gives up on it within 20 s."""
_PULSE_S = 1.0
"""How often the drain and the workers are counted and the lanes' state is written even when nothing changed."""
_DRAIN_OVER_S = 2.0
_BUSY_STEP_S = 0.05
"""The step while due events wait behind a window."""
_CLOSED_STEP_S = 0.025
"""The step while a lane is closed and nothing waits yet: what its next events may wait."""
_JUST_OPENED_S = 0.1
"""So long after a lane was opened an event that found it closed may still be committed; nobody else publishes it."""
_OPEN_BELOW = {Lane.HIGH: 60, Lane.MEDIUM: 60, Lane.LOW: 200}
"""With so many pointers or messages out for each worker that listens a lane is closed: then the dispatcher puts many
into one message, where a receiver would send each by itself. Not sooner: by way of the dispatcher an event is up to
two steps later, its row is written once more, and a worker that is behind takes many at once anyway. Low's often come
in batches, which are messages of many already."""
_LOST_AT_MOST_S = 30.0
_MIN_WINDOW = 200
"""Pointers a lane's queue may always hold: so that a burst after a quiet time isn't throttled by the quiet."""
_CROWDED = 0.5
"""The share of a window that one source may fill directly: beyond, the lane is closed and the dispatcher shares it."""


@dataclass(slots=True)
class Dispatcher:
    """Publishes what is due."""

    resources: Resources
    stopping: Flag = field(default_factory=Flag)
    _drain: dict[Lane, float] = field(default_factory=dict)
    _queues: dict[Lane, tuple[int, int]] = field(default_factory=dict)
    """Workers and waiting messages."""
    _written: dict[Lane, tuple[bool, int]] = field(default_factory=dict)
    _opened_at: float = float("-inf")
    """When a lane was last opened."""
    _refills: dict[Lane, Refill] = field(default_factory=lambda: {lane: Refill(lane) for lane in Lane})
    _lane_share: LaneShare = field(default_factory=LaneShare)
    _done: Counter[tuple[Lane, Step]] = field(default_factory=Counter)
    """What was done since it was last written down, by lane and step."""
    _up_in: int = 0
    """The last minute that was noted as one of uptime."""
    _pulse_at: float = 0.0
    _broker_up: bool = False
    _shown_at: float = 0.0

    def run(self) -> None:
        """Dispatch until ``stopping`` is set; whatever breaks is tried again."""
        retrying = Retrying(
            retry=retry_if_exception_type(TiercelError),
            stop=stop_when_event_set(self.stopping),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            before_sleep=_say_why,
            sleep=sleep_using_event(self.stopping),
            retry_error_callback=lambda _state: None,
        )
        while not self.stopping.is_set():
            retrying(self._lead)

    def step(self) -> float:
        """Do everything that is due now; return the seconds until the next step at the latest."""
        settings = self.resources.settings
        beats = time.monotonic() >= self._pulse_at
        if beats:
            self._pulse_at = time.monotonic() + _PULSE_S
            self._count()
            self._tally()
            process_metrics.sample(self.resources.connections)
        with pipelined_transaction(self.resources.engine) as session:
            expired = due.expire_leases(session, settings.max_attempts)
            if beats:
                deadlines.expire(session)
                deadlines.promote(session, settings.deadline_near_s)
            loads = due.loads(session)
        self._done.update({(lane, Step.LEASE_EXPIRED): count for lane, count in expired.items()})
        behind = [self._serve(load, beats=beats) for load in loads]
        if beats and self._broker_up and not any(behind):
            self._release_replays()
        if any(behind):
            return _BUSY_STEP_S if self._broker_up else settings.dispatch_interval_s
        if self._broker_up and self._may_be_left_behind():
            return _CLOSED_STEP_S
        with pipelined_transaction(self.resources.engine) as session:
            next_due_s = due.next_due_in_s(session)
        return min(settings.dispatch_interval_s, settings.dispatch_interval_s if next_due_s is None else next_due_s)

    def window(self, lane: Lane) -> int:
        """Return how many pointers the lane's queue may hold: ``window_s`` of its measured drain, in bounds."""
        settings = self.resources.settings
        measured = int(self._drain.get(lane, 0.0) * settings.window_s)
        return min(settings.window_pointers, max(_MIN_WINDOW, measured))

    def _lead(self) -> None:
        standby = Standby(self.resources.engine, Role.DISPATCHER)
        try:
            heartbeat_file.write(HeartbeatFile("dispatcher"))
            while standby.step() is None:
                heartbeat_file.write(HeartbeatFile("dispatcher"))
                if self.stopping.wait(POLL_S):
                    return
            _LOG.info("this dispatcher leads", action="dispatcher_leads")
            with database_errors():
                driver: Any = standby.connection.connection.dbapi_connection
                standby.connection.execute(text(f"LISTEN {CHANNEL}"))
            with Heartbeat(self.resources.engine, Role.DISPATCHER, _STUCK_S) as heart:
                while not self.stopping.is_set():
                    heart.alive()
                    self._show_pulse()
                    _wait_for_notify(driver, self.step())
        finally:
            standby.close()

    def _show_pulse(self) -> None:
        if time.monotonic() >= self._shown_at + _PULSE_S:
            self._shown_at = time.monotonic()
            heartbeat_file.write(HeartbeatFile("dispatcher"))

    def _serve(self, load: LaneLoad, *, beats: bool) -> bool:
        """Fill one lane's window; tell whether due events are still behind it."""
        lane, window = load.lane, self.window(load.lane)
        room = max(0, window - load.out)
        taken: list[Dispatch] = []
        at_most = self._lane_share.allowance(lane)
        if self._broker_up:
            taken = self._fill(load, window, at_most)
        self._lane_share.consume(lane, len(taken))
        behind = load.backlog and (not self._broker_up or len(taken) >= (room if at_most is None else at_most))
        workers, messages = self._queues.get(lane, (0, 0))
        # Messages too: whoever takes events along leaves their messages behind, and each wants to be looked at.
        few = max(load.out + len(taken), messages) < _OPEN_BELOW[lane] * max(1, workers)
        if lane is Lane.HIGH:
            self._lane_share.observe(behind=behind or not few, out=load.out, given=len(taken), now=time.monotonic())
        is_open = self._broker_up and not behind and few and at_most is None
        is_open = is_open and max(load.out_by_source.values(), default=0) < window * _CROWDED
        if beats or self._written.get(lane) != (is_open, window):
            with pipelined_transaction(self.resources.engine) as session:
                drain = self._drain.get(lane, 0.0)
                due.set_lane(session, load, is_open=is_open, window=window, drain_per_s=drain, workers=workers)
            if is_open and not self._written.get(lane, (False, 0))[0]:
                self._opened_at = time.monotonic()
            self._written[lane] = (is_open, window)
        return behind

    def _may_be_left_behind(self) -> bool:
        """Tell whether an event may be stored that finds its lane closed."""
        closed = not all(is_open for is_open, _ in self._written.values())
        return closed or time.monotonic() < self._opened_at + _JUST_OPENED_S

    def _fill(self, load: LaneLoad, window: int, at_most: int | None) -> list[Dispatch]:
        lost_after_s = self._lost_after_s(load)
        with pipelined_transaction(self.resources.engine) as session:
            taken = self._refills[load.lane].take(session, load, window, at_most) if load.backlog else []
            lost = due.take_lost(session, load.lane, lost_after_s, _MIN_WINDOW) if load.out else []
        if lost:
            _LOG.info("pointers are published again", action="redispatch", lane=load.lane.name, count=len(lost))
        failed = self.resources.publisher.publish([*taken, *lost]) if taken or lost else []
        for step, count in (
            (Step.PUBLISHED, len(taken)),
            (Step.REPUBLISHED, len(lost)),
            (Step.UNPUBLISHED, len(failed)),
        ):
            if count:
                self._done[load.lane, step] += count
        if failed:
            self._broker_down(f"{len(failed)} pointers were not taken")
            with pipelined_transaction(self.resources.engine) as session:
                due.unpublished(session, [dispatch.pointer.event_id for dispatch in failed])
        return taken

    def _release_replays(self) -> None:
        # Once a second, and only while nothing live waits: a replay of history is never ahead of live work.
        try:
            with pipelined_transaction(self.resources.engine) as session:
                released = replays.release(session)
        except Busy as error:
            _LOG.info("a replay waits a second", action="replay_waits", error=str(error))
            return
        if released:
            _LOG.info("history is replayed", action="replay_released", count=released)

    def _lost_after_s(self, load: LaneLoad) -> float:
        """Return after how long a pointer counts as lost: three times what its queue should take, within bounds.

        What a lane drained lately says little about a lane that has little to do. So an empty queue counts at once,
        and nothing waits longer than _LOST_AT_MOST_S.
        """
        soonest = self.resources.settings.redispatch_after_s
        drain = self._drain.get(load.lane, 0.0)
        if not drain or not self._queues.get(load.lane, (0, 0))[1]:
            return soonest
        return min(max(soonest, 3 * load.out / drain), max(soonest, _LOST_AT_MOST_S))

    def _count(self) -> None:
        """Measure each lane's drain and count its workers; this is also how a broker that is back is noticed."""
        with pipelined_transaction(self.resources.engine) as session:
            finished = due.finished_in(session, _DRAIN_OVER_S)
            ages.record(session)
        self._drain = {lane: count / _DRAIN_OVER_S for lane, count in finished.items()}
        try:
            self._queues = self.resources.publisher.queues()
        except (AMQPError, KombuError, OSError) as error:
            self._queues = {}
            self._broker_down(repr(error))
            return
        if not self._broker_up:
            _LOG.info("the broker takes messages", action="broker_up")
        self._broker_up = True

    def _tally(self) -> None:
        """Count what became of events, and what was done here; that it fails stops no dispatching."""
        try:
            with pipelined_transaction(self.resources.engine) as session:
                # What ends while nobody counts is counted once somebody does.
                counted = outcomes.count(session) if self.resources.settings.metrics else None
                if self._broker_up and (minute := int(time.time() // 60)) != self._up_in:
                    kpis.note_up(session)
                    self._up_in = minute
                if self._done:
                    outcomes.add_work(session, self._done)
        except TiercelError as error:
            _LOG.warning("ends aren't counted yet", action="tally_failed", error=repr(error))
        else:
            self._done.clear()
            for trace, event_id, outcome in counted.traced if counted else ():
                told = {"tiercel.event_id": event_id, "tiercel.outcome": outcome.name.lower()}
                tracing.note("end", trace, tracing.now(), told)

    def _broker_down(self, why: str) -> None:
        if self._broker_up:
            _LOG.warning("the broker takes no messages; events wait in the database", action="broker_down", why=why)
        self._broker_up = False


def _wait_for_notify(driver: Any, timeout_s: float) -> None:
    """Sleep until a NOTIFY or the timeout.

    Raises:
        Unavailable: the connection is gone, and the advisory lock with it.
    """
    try:
        if select.select([driver], [], [], timeout_s)[0]:
            driver.poll()
            driver.notifies.clear()
    except (psycopg2.Error, OSError, ValueError) as error:
        raise Unavailable("the dispatcher's connection is gone") from error


def _say_why(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _LOG.warning("the dispatcher starts again", action="dispatcher_retry", error=repr(error))
