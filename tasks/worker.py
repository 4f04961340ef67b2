"""Owns the Celery application: the composition root of the workers and of beat."""

import os
from contextlib import suppress
from datetime import timedelta
from functools import cache
from resource import RLIMIT_DATA, setrlimit
from typing import Any

import structlog
from celery import Celery, Task
from celery.signals import celeryd_init, setup_logging, worker_init, worker_process_init, worker_process_shutdown
from celery.utils.log import current_process_index  # type: ignore[attr-defined]  # celery-types lacks it

from app.messaging.messages import APPLY_EVENTS, APPLY_EVENTS_SHOWN, CARRY_OUT, PURGE, queue_name
from app.messaging.publisher import TRANSPORT_OPTIONS, queue_for
from app.models import Lane
from app.observability import process_metrics, tracing
from app.privacy import sender_requests
from app.resources import Resources
from config.heap import settle
from config.logs import configure_logs
from config.settings import Settings, settings
from config.share import share_by_niceness
from tasks import housekeeping
from tasks.batch_size import Pace
from tasks.celery_steps import ShowPulse
from tasks.process import process_pointers

_LOG = structlog.get_logger()
_PURGE_EVERY_S = 600.0
_REQUESTS_EVERY_S = 60.0
_LANES: dict[str | None, Lane] = {queue_name(lane): lane for lane in Lane}
_PACE = Pace()
_group: list[str] = []
"""What this worker is called, as in ``high@host``: the processes that it forks know it from here."""


def celery_configuration(settings: Settings) -> dict[str, Any]:
    """Return the configuration that held in the measurements (docs/decisions/0002-celery-configuration.md)."""
    return {
        "broker_url": settings.broker_url,
        "broker_connection_timeout": 3,
        "broker_pool_limit": 10,
        "broker_pool_acquire_timeout": 5,
        "broker_heartbeat": 30,
        # No confirms here: pointers go through app.messaging.publisher, and a worker's own events (for Flower) would
        # hold up its loop for a round trip each: half of its processor time, measured.
        "broker_transport_options": TRANSPORT_OPTIONS,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_publish_retry_policy": {
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.1,
            "interval_max": 0.2,
        },
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_acks_on_failure": True,
        "task_acks_on_timeout": False,
        "task_time_limit": 60,
        "task_soft_time_limit": 45,
        "task_ignore_result": True,
        "task_create_missing_queues": False,
        "task_queues": [
            queue_for(lane, settings.broker_queue_type, consumer_priority=settings.consumer_priority) for lane in Lane
        ],
        "task_default_queue": queue_name(Lane.LOW),
        "task_default_exchange": "",
        "task_serializer": "json",
        "accept_content": ["json"],
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        "control_queue_durable": True,
        "control_queue_exclusive": False,
        "worker_consumer": "tasks.celery_steps:SoonBack",
        "beat_scheduler": "tasks.beat:LeadingScheduler",
        "beat_schedule": {
            "purge": {"task": PURGE, "schedule": _PURGE_EVERY_S},
            "requests": {"task": CARRY_OUT, "schedule": _REQUESTS_EVERY_S},
        },
    }


celery = Celery("tiercel")
celery.config_from_object(celery_configuration(settings()))
celery.steps["worker"].add(ShowPulse)


@cache
def resources() -> Resources:
    """Return this process's open connections; made at its first task, so never before the fork."""
    return Resources.open(settings(), pool_size=2)


@celery.task(name=APPLY_EVENTS, send_events=False, bind=True)
def apply_events(self: "Task[..., None]", pairs: list[list[Any]]) -> None:
    """Apply the events of one message."""
    _apply(self, pairs)


@celery.task(name=APPLY_EVENTS_SHOWN, bind=True)
def apply_events_shown(self: "Task[..., None]", pairs: list[list[Any]]) -> None:
    """Apply the events of one message that Flower shows."""
    _apply(self, pairs)


def _apply(task: "Task[..., None]", pairs: list[list[Any]]) -> None:
    delivery = task.request.delivery_info or {}
    process_pointers(resources(), pairs, _LANES.get(delivery.get("routing_key")), _PACE)
    _sample()


def _sample() -> None:
    process_metrics.sample(resources().connections)


@celery.task(name=PURGE)
def purge() -> None:
    """Delete what is past its retention."""
    _LOG.info("purged", action="purged", **housekeeping.purge(resources()))


@celery.task(name=CARRY_OUT)
def carry_out_requests() -> None:
    """Carry out what senders asked for, where its time has come."""
    sender_requests.carry_out_due(resources().engine, timedelta(hours=settings().request_grace_hours))


@celeryd_init.connect
def _share(sender: str = "", **_: object) -> None:
    share_by_niceness()
    _group.append(sender.partition("@")[0])


@worker_init.connect
def _before_fork(**_: object) -> None:
    tracing.load()
    settle()


@setup_logging.connect
def _logs(**_: object) -> None:
    configure_logs(settings())


@worker_process_init.connect
def _after_fork(**_: object) -> None:
    resources.cache_clear()
    # One event that wants all memory gets a MemoryError; without a bound the machine would choose whom to kill.
    most = settings().worker_memory_mb * 1024 * 1024
    with suppress(OSError, ValueError):
        setrlimit(RLIMIT_DATA, (most, most))
    # A pool's processes have seats; a new one takes the seat of the one that died.
    seat = current_process_index(0) or 0
    group = _group[-1] if _group else "worker"
    process_metrics.begin(group, main=os.getppid(), slot=seat)
    tracing.begin(group)


@worker_process_shutdown.connect
def _close(**_: object) -> None:
    if resources.cache_info().currsize:
        resources().close()
    tracing.end()
