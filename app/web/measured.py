"""Owns what is counted about every HTTP answer, and ``GET /metrics``, which shows it.

Whatever a stranger may choose (a path, a method, the name of a source) is counted under its own name only where it is
one of ours.
"""

import time
from ipaddress import ip_address

from flask import Blueprint, Flask, Response, g, request

from app import exposition, keys, measures
from app.db import transaction
from app.models import Scope
from app.web.receive import receiver

blueprint = Blueprint("measured", __name__)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")
_FIRST_ERROR = 400
_DOOR = "receive."


@blueprint.get("/metrics")
def metrics() -> Response:
    """Show the numbers to Prometheus: to this machine itself, else to whoever has a key."""
    if not _is_from_here():
        _check_key()
    shown: exposition.Exposition = receiver().exposition
    return Response(shown.text(), content_type=exposition.CONTENT_TYPE)


def measure(flask_app: Flask) -> None:
    """Count every answer of an application."""

    @flask_app.before_request
    def _begin() -> None:
        g.began = time.perf_counter()

    @flask_app.after_request
    def _end(response: Response) -> Response:
        route = measures.OTHER if request.url_rule is None else request.url_rule.rule
        method = measures.named(request.method, _METHODS)
        measures.ANSWERED.add(route, method, str(response.status_code))
        began: float | None = g.get("began")
        if began is not None:
            measures.ANSWER.observe(time.perf_counter() - began, route)
        if response.status_code >= _FIRST_ERROR and (request.endpoint or "").startswith(_DOOR):
            name = (request.view_args or {}).get("name", "")
            source = name if receiver().endpoints.known(name) is not None else measures.OTHER
            measures.REFUSED.add(source, g.get("problem", str(response.status_code)))
        if measures.sample(receiver().resources.connections):
            measures.OUTBOX.set(receiver().unpublished())
        return response


def _is_from_here() -> bool:
    """Tell whether the request comes from this machine, and through no proxy on it."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ip_address(request.environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _check_key() -> None:
    limits = receiver().limits
    limits.check_address(request.environ)
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    try:
        with transaction(receiver().resources.engine) as session:
            keys.check(session, receiver().vault, key.strip() if scheme.lower() == "bearer" else "", Scope.READ)
    except keys.KeyInvalid:
        limits.charge_failure(request.environ)
        raise
