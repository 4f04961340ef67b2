"""Owns the workers' entry module of the fault suite: the real one, with crash points and three poisonous handlers.

``celery --app tests.faults.worker:celery`` in place of ``tasks.worker:celery``; nothing else differs.
"""

import os
import signal
from dataclasses import replace
from typing import Any

from celery.signals import task_postrun

from app.events.incoming import JsonObject
from app.handlers import HANDLERS
from app.handlers.registry import Handler, Retries, Row
from app.models import Segment
from tasks.worker import celery
from tests.faults import crash
from tests.faults.crash import Point

__all__ = ["celery"]
_FEW = Retries(max_attempts=2, base_s=0.1, cap_s=0.1)


def _kills_its_process(_data: JsonObject) -> list[Row]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def _never_ends(_data: JsonObject) -> list[Row]:
    while True:
        pass


def _wants_all_memory(_data: JsonObject) -> list[Row]:
    taken: list[bytearray] = []
    while True:
        taken.append(bytearray(16 * 1024 * 1024))


def _dies_in_the_middle(handler: Handler) -> Handler:
    wanted = handler.rows

    def rows(data: JsonObject) -> Any:
        crash.here(Point.AFTER_CLAIM)
        return wanted(data) if wanted else []

    return replace(handler, rows=rows)


@task_postrun.connect
def _before_the_ack(**_: object) -> None:
    crash.here(Point.BEFORE_ACK)


HANDLERS["price"] = _dies_in_the_middle(HANDLERS["price"])
HANDLERS["poison-exit"] = Handler(Segment, _kills_its_process, retries=_FEW)
HANDLERS["poison-loop"] = Handler(Segment, _never_ends, retries=_FEW)
HANDLERS["poison-memory"] = Handler(Segment, _wants_all_memory, retries=_FEW)
