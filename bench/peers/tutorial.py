"""Owns peer (a), the usual tutorial: Flask, Celery's ``.delay()`` with the event in the message, no inbox.

Fast where it can be, since nothing is kept: messages without confirms, early acknowledgement, Celery's defaults.
"""

from typing import Any

from celery import Celery

from bench.peers import door, shop
from config.settings import settings

QUEUE = f"{shop.SCHEMA}.tutorial"

celery = Celery("tutorial", broker=settings().broker_url)
celery.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    # So that it runs on every RabbitMQ, as ours.
    control_queue_durable=True,
    control_queue_exclusive=False,
    broker_connection_retry_on_startup=True,
)
apply_event = celery.task(name="tutorial.apply_event")(shop.apply)


def _take(_event_id: str, body: dict[str, Any]) -> None:
    apply_event.delay(body)


flask_app = door.make_app("tutorial", _take)
