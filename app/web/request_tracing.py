"""Owns the trace of a request that brings events; where traces are off nothing here is in an application's way."""

from typing import Any

from flask import Flask, Response, g
from flask.globals import request_ctx

from app.observability import tracing
from app.observability.process_metrics import OTHER
from app.web.webhooks.receiver import Receiver

_DOOR, _DESK = "/webhooks/", "/v1/events"
_FIRST_ERROR, _FIRST_OF_OURS = 400, 500


def trace(flask_app: Flask) -> None:
    """Trace an application's requests that bring events, if this process traces at all."""
    if not tracing.on():
        return
    intake: Receiver = flask_app.extensions["receiver"]
    serve = flask_app.wsgi_app

    def traced(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ.get("PATH_INFO", "")
        if environ.get("REQUEST_METHOD") == "POST" and (path.startswith(_DOOR) or path.rstrip("/") == _DESK):
            with tracing.request():
                return serve(environ, start_response)
        return serve(environ, start_response)

    flask_app.wsgi_app = traced  # type: ignore[method-assign]  # Flask's documented place for middleware

    @flask_app.after_request
    def _end(response: Response) -> Response:
        if tracing.carried() is not None:
            asked, status = request_ctx.request, response.status_code
            name = (asked.view_args or {}).get("name", "")
            attributes: dict[str, str | int] = {
                "http.request.method": "POST",
                "http.route": asked.url_rule.rule if asked.url_rule else OTHER,
                "http.response.status_code": status,
                "tiercel.source": name if intake.endpoints.known(name) is not None else OTHER,
            }
            problem = g.get("problem")
            if problem is not None:
                attributes["tiercel.problem"] = problem
            # Only of whoever has shown a signature or a key: a stranger's ids are noise at best.
            sender = asked.headers.get("traceparent") if status < _FIRST_ERROR else None
            tracing.answered(attributes, sender=sender, error=problem if status >= _FIRST_OF_OURS else None)
        return response
