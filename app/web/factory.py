"""Owns create_app: the Flask application of the door and the desk."""

from flask import Flask, Response

from app.resources import Resources
from app.vault import Vault
from app.web import health, measured, receive
from app.web.api import desk, moves, priority, replays
from app.web.errors import handle_errors
from app.web.measured import measure
from app.web.receiver import Receiver
from config.settings import Settings


def create_app(settings: Settings) -> Flask:
    """Return the application, with its threads started: call it after the fork.

    Raises:
        VaultUnusable: the settings hold no keys for the secrets.
    """
    flask_app = Flask("tiercel", static_folder=None)
    flask_app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    flask_app.url_map.strict_slashes = False
    flask_app.url_map.merge_slashes = False
    flask_app.extensions["receiver"] = Receiver(Resources.open(settings, pool_size=6), Vault(settings))
    handle_errors(flask_app)
    measure(flask_app)
    for module in (receive, health, measured, desk, priority, moves, replays):
        flask_app.register_blueprint(module.blueprint)

    @flask_app.after_request
    def _plain(response: Response) -> Response:
        if (response.mimetype or "").endswith("json"):
            response.set_data(response.get_data() + b"\n")  # for whoever reads it in a terminal
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    return flask_app
