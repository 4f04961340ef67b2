"""Owns peer (c): the same work under dramatiq on RabbitMQ, with its own defaults."""

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.peers import shop
from config.settings import settings

QUEUE = f"{shop.SCHEMA}.dramatiq"

# pika wants the default virtual host's name in the URL, where Celery takes an empty one.
_url = settings().broker_url
broker = RabbitmqBroker(url=_url.removesuffix("/") + "%2F" if _url.endswith("//") else _url)
dramatiq.set_broker(broker)
apply_event = dramatiq.actor(shop.apply, actor_name="apply_event", queue_name=QUEUE, broker=broker)
