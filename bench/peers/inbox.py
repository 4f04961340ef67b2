"""Owns peer (b): the tutorial with a row committed a request, duplicates recognised, and publisher confirms."""

from typing import Any

from celery import Celery
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from bench.peers import door, shop
from config.settings import settings

QUEUE = f"{shop.SCHEMA}.inbox"

celery = Celery("inbox", broker=settings().broker_url)
celery.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_transport_options={"confirm_publish": True},
    # A producer for each thread that may wait for a confirm.
    broker_pool_limit=shop.THREADS,
    control_queue_durable=True,
    control_queue_exclusive=False,
    broker_connection_retry_on_startup=True,
)


def _apply(event_id: str) -> None:
    with Session(shop.engine()) as session, session.begin():
        kept = session.get_one(shop.Inbox, event_id)
        if kept.done_at is None:
            shop.write(session, kept.body["type"].partition(".")[0], kept.body["data"])
            kept.done_at = func.clock_timestamp()


apply_event = celery.task(name="inbox.apply_event")(_apply)


def _take(event_id: str, body: dict[str, Any]) -> None:
    with Session(shop.engine()) as session, session.begin():
        row = insert(shop.Inbox).values(id=event_id, body=body).on_conflict_do_nothing().returning(shop.Inbox.id)
        new = session.execute(row).first()
    if new:
        apply_event.delay(event_id)


flask_app = door.make_app("inbox", _take)
