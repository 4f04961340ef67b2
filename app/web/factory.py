"""Owns create_app: the Flask application of the receiver and the API."""

from flask import Flask, Response, request

from app.resources import Resources
from app.security.vault import Vault
from app.web import health, request_metrics
from app.web.api import events, idempotency, ingest, keys, priority, replays, reprioritise, requests, sources, typed
from app.web.errors import handle_errors
from app.web.openapi import pages
from app.web.request_metrics import measure
from app.web.request_tracing import trace
from app.web.webhooks import views
from app.web.webhooks.receiver import Receiver
from config.settings import Settings

MODULES = (
    views,
    health,
    request_metrics,
    pages,
    events,
    ingest,
    reprioritise,
    replays,
    typed,
    priority,
    sources,
    keys,
    requests,
)
"""Where the routes are."""


def create_app(settings: Settings) -> Flask:
    """Return the application, with its threads started: call it after the fork.

    Raises:
        VaultUnusable: the settings hold no keys for the secrets.
    """
    flask_app = Flask("tiercel", static_folder=None)
    flask_app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    flask_app.extensions["receiver"] = Receiver(Resources.open(settings, pool_size=6), Vault(settings))
    handle_errors(flask_app)
    if settings.metrics:
        measure(flask_app)
    trace(flask_app)
    add_routes(flask_app)
    idempotency.keep_answers(flask_app)

    @flask_app.after_request
    def _plain(response: Response) -> Response:
        if (response.mimetype or "").endswith("json"):
            response.set_data(response.get_data() + b"\n")  # for whoever reads it in a terminal
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        if not request.path.startswith("/webhooks/"):  # where no browser looks, and every header costs
            _close_to_browsers(response)
        return response

    return flask_app


def add_routes(flask_app: Flask) -> None:
    """Give an application every route; the OpenAPI document needs no more than that."""
    flask_app.url_map.strict_slashes = False
    flask_app.url_map.merge_slashes = False
    for module in MODULES:
        flask_app.register_blueprint(module.blueprint)


def _close_to_browsers(response: Response) -> None:
    """Let no page frame, run or be told anything by an answer (OWASP, secure headers); name its content for later."""
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if request.method == "GET" and response.status_code == 200 and request.path.startswith("/v1/"):  # noqa: PLR2004  # RFC 9110
        response.add_etag()
        if "If-None-Match" in request.headers:
            response.make_conditional(request)
