"""Owns the peers' door: the same signed request verified with the public package, then handed on."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_YmVuY2gtcGVlcnMtYmVuY2gtcGVlcnMh"  # noqa: S105  # both ends of a measurement, nobody's secret


def make_app(name: str, take: Callable[[str, dict[str, Any]], None]) -> Flask:
    """Return a receiver that hands each verified body on, with its id, before it answers."""
    flask_app = Flask(name, static_folder=None)
    webhook = Webhook(SECRET)

    @flask_app.post("/webhooks/<_name>")
    def receive(_name: str) -> Response | tuple[dict[str, str], int]:
        try:
            body = webhook.verify(request.get_data(), dict(request.headers))
        except WebhookVerificationError:
            return Response(status=401)
        take(request.headers["webhook-id"], body)
        return {"status": "accepted"}, 202

    return flask_app
