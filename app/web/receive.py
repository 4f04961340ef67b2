"""Owns receive, ``POST /webhooks/{source}``: checks source, size, content type, signature, body, rate, in order."""

import contextlib
import time
from functools import partial

import orjson
from flask import Blueprint, Response, current_app, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

from app.errors import BodyMalformed, BodyTooLarge, ContentTypeUnsupported, Rejected
from app.inbox.store import Kept, Stored
from app.sources import Request
from app.web.receiver import Receiver

blueprint = Blueprint("receive", __name__)


def receiver() -> Receiver:
    """Return this process's receiver."""
    found: Receiver = current_app.extensions["receiver"]
    return found


@blueprint.post("/webhooks/<name>")
def receive(name: str) -> Response:
    """Take one event; 202 once it is committed, 200 for one that is known already."""
    door = receiver()
    fails = partial(door.limits.charge_failure, request.environ)
    endpoint = door.endpoint(name, fails)
    try:
        body = _body()
        if not _is_json(request.mimetype):
            raise ContentTypeUnsupported
    except Rejected:
        fails()
        raise
    headers = {header.lower(): value for header, value in request.headers.items()}
    return _answer(door.accept(endpoint, Request(headers, body, time.time()), fails))


def _body() -> bytes:
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        # Read on for a while: a connection closed on unread bytes would be reset before the sender sees the answer.
        with contextlib.suppress(OSError):
            request.environ["wsgi.input"].read(2 * current_app.config["MAX_CONTENT_LENGTH"])
        raise BodyTooLarge from None
    except (OSError, ParseException) as error:
        # gunicorn's way to say that the chunks of a body aren't chunks, or that the sender is gone.
        raise BodyMalformed("the body can't be read") from error


def _is_json(mimetype: str) -> bool:
    return mimetype == "application/json" or (mimetype.startswith("application/") and mimetype.endswith("+json"))


def _answer(stored: Stored) -> Response:
    body = {
        "id": str(stored.id),
        "status": stored.status.name.lower(),
        "outcome": None if stored.outcome is None else stored.outcome.name.lower(),
        "lane": stored.lane.name.lower(),
    }
    response = Response(orjson.dumps(body), 202 if stored.kept is Kept.NEW else 200, content_type="application/json")
    if stored.kept is not Kept.NEW:
        response.headers["X-Event-Status"] = stored.kept.value
    return response
