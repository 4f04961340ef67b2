"""Owns the entry module of workers whose handlers do what they shouldn't: the real workers, and three kinds of event.

``celery --app bench.measure.faulty:celery`` in place of ``tasks.worker:celery``; nothing else differs.
"""

import os
import signal
from collections.abc import Sequence

from app.errors import Permanent, Transient
from app.events.incoming import JsonObject
from app.handlers import HANDLERS
from app.handlers.registry import Handler, Row
from app.models import Segment
from bench.measure.faults import DEAD, KILLS, RETRIED
from tasks.worker import celery

__all__ = ["celery"]


def _retried(_data: JsonObject) -> Sequence[Row]:
    raise Transient("not now")


def _dead(_data: JsonObject) -> Sequence[Row]:
    raise Permanent("never")


def _kills(_data: JsonObject) -> Sequence[Row]:
    os.kill(os.getpid(), signal.SIGKILL)
    return ()


HANDLERS |= {RETRIED: Handler(Segment, _retried), DEAD: Handler(Segment, _dead), KILLS: Handler(Segment, _kills)}
