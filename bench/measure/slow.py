"""Owns the entry module of a low worker with a slow handler: the real worker, and one kind of event that sleeps.

``celery --app bench.measure.slow:celery`` in place of ``tasks.worker:celery`` (``bench/measure/slow.Procfile``);
nothing else differs.
"""

import time

from app.events.incoming import JsonObject
from app.handlers import HANDLERS
from app.handlers.registry import Handler, NotProjectable, Row
from app.models import Segment
from bench.measure.flood import SLOW
from tasks.worker import celery

__all__ = ["celery"]
SLEEP_S = 0.2


def _sleeps(_data: JsonObject) -> list[Row]:
    time.sleep(SLEEP_S)
    raise NotProjectable("there is no row for it")


HANDLERS[SLOW] = Handler(Segment, _sleeps)
