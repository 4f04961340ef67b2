"""Owns the ceiling of a receiver: a Flask route that reads the body and answers, under the receiver's own gunicorn."""

from flask import Flask, Response, request

flask_app = Flask("noop", static_folder=None)


@flask_app.post("/webhooks/<name>")
def receive(name: str) -> Response:  # noqa: ARG001  # the route's own
    """Read the body and answer as the receiver would."""
    request.get_data(cache=False)
    return Response(
        b'{"id":"","status":"pending","outcome":null,"lane":"high"}\n', 202, content_type="application/json"
    )
