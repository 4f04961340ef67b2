"""Owns the receiver's entry module of the fault suite: the real one, which can die between commit and answer."""

from flask import Response, request

from app.wsgi import flask_app
from tests.faults import crash
from tests.faults.crash import Point

__all__ = ["flask_app"]


@flask_app.after_request
def _before_the_answer(response: Response) -> Response:
    if request.path.startswith("/webhooks/"):
        crash.here(Point.AFTER_STORE)
    return response
