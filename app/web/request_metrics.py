"""Owns what is counted about every HTTP answer, and ``GET /metrics``, which shows it.

Whatever a stranger may choose (a path, a method, the name of a source) is counted under its own name only where it is
one of ours.
"""

import time
from ipaddress import ip_address
from typing import Any

from flask import Blueprint, Flask, Response, g, request
from flask.globals import request_ctx

from app.db.engine import transaction
from app.models import Scope
from app.observability import process_metrics
from app.reporting import prometheus
from app.security import api_keys
from app.web.openapi.described import described
from app.web.webhooks.receiver import Receiver, receiver

blueprint = Blueprint("measured", __name__)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")
_FIRST_ERROR = 400
_DOOR = "receive."
_BEGAN = "tiercel.began"


@blueprint.get("/metrics")
@described("health", {200: "The numbers, in Prometheus' text form."}, public=True, problems={401, 403, 429})
def metrics() -> Response:
    """Show the numbers to Prometheus: to this machine itself, else to whoever has a key."""
    if not _is_from_here():
        _check_key()
    shown: prometheus.Exposition = receiver().exposition
    return Response(shown.text(), content_type=prometheus.CONTENT_TYPE)


def measure(flask_app: Flask) -> None:
    """Count every answer of an application; its receiver is there already."""
    intake: Receiver = flask_app.extensions["receiver"]
    serve = flask_app.wsgi_app

    def timed(environ: dict[str, Any], start_response: Any) -> Any:
        # Here and not in before_request, which costs several times as much.
        environ[_BEGAN] = time.perf_counter()
        return serve(environ, start_response)

    flask_app.wsgi_app = timed  # type: ignore[method-assign]  # Flask's documented place for middleware

    @flask_app.after_request
    def _end(response: Response) -> Response:
        asked, status = request_ctx.request, response.status_code
        rule = asked.url_rule
        route = process_metrics.OTHER if rule is None else rule.rule
        process_metrics.ANSWERED.add(route, process_metrics.named(asked.method, _METHODS), str(status))
        process_metrics.ANSWER.observe(time.perf_counter() - asked.environ[_BEGAN], route)
        if status >= _FIRST_ERROR and (asked.endpoint or "").startswith(_DOOR):
            name = (asked.view_args or {}).get("name", "")
            source = name if intake.endpoints.known(name) is not None else process_metrics.OTHER
            process_metrics.REFUSED.add(source, g.get("problem", str(status)))
        if process_metrics.sample(intake.resources.connections):
            process_metrics.OUTBOX.set(intake.unpublished())
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
            api_keys.check(session, receiver().vault, key.strip() if scheme.lower() == "bearer" else "", Scope.READ)
    except api_keys.KeyInvalid:
        limits.charge_failure(request.environ)
        raise
