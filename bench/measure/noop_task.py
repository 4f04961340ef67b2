"""Owns the ceiling of a worker: a Celery task that does nothing, with Celery's defaults."""

from celery import Celery

from config.settings import settings

celery = Celery("noop", broker=settings().broker_url)
celery.conf.update(
    task_default_queue="bench.measure.noop",
    task_ignore_result=True,
    control_queue_durable=True,
    control_queue_exclusive=False,
    broker_connection_retry_on_startup=True,
)


def _nothing() -> None:
    pass


noop = celery.task(name="noop")(_nothing)
