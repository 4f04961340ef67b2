"""Owns the health pages: /livez (this process answers) and /readyz (it can keep events)."""

import orjson
from flask import Blueprint, Response
from redis.exceptions import RedisError

from app.errors import Unavailable
from app.web.openapi import schemas
from app.web.openapi.described import described
from app.web.webhooks.receiver import receiver

blueprint = Blueprint("health", __name__)


@blueprint.get("/livez")
@described("health", {200: schemas.Health}, public=True)
def livez() -> Response:
    """Say that the process answers; checks nothing else, so that a broken database restarts no receiver."""
    return Response(b'{"status":"ok"}', content_type="application/json")


@blueprint.get("/readyz")
@described("health", {200: schemas.Health, 503: schemas.Health}, public=True)
def readyz() -> Response:
    """Say whether events can be kept: 200 with a database at our schema, else 503.

    A dispatcher, worker or Redis that is away shows as degraded and stays 200: events are accepted and applied later.
    """
    checks: dict[str, str] = {"database": "ok"}
    try:
        lanes = receiver().endpoints.refresh()
    except Unavailable:
        checks["database"] = "unavailable"
        return _health("unavailable", checks, 503)
    checks["dispatcher"] = _word(any(pulse.dispatcher_alive for pulse in lanes.values()))
    checks |= {f"workers.{lane.name.lower()}": _word(pulse.workers > 0) for lane, pulse in lanes.items()}
    try:
        receiver().resources.locks.ping()
        checks["redis"] = "ok"
    except RedisError:
        checks["redis"] = "unavailable"
    return _health("ok" if set(checks.values()) == {"ok"} else "degraded", checks, 200)


def _word(good: bool) -> str:
    return "ok" if good else "unavailable"


def _health(status: str, checks: dict[str, str], code: int) -> Response:
    return Response(orjson.dumps({"status": status, "checks": checks}), code, content_type="application/json")
