"""Owns receive, ``POST /webhooks/{source}``: checks source, size, content type, signature, body, rate, in order.

Also what vendors ask an endpoint before they send: ``GET`` and ``OPTIONS``, for the kinds that have a handshake.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial

import orjson
from flask import Blueprint, Response, current_app, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge

from app.errors import BodyMalformed, BodyTooLarge, ContentTypeUnsupported, Rejected
from app.inbox.store import Kept, Stored
from app.models import Outcome
from app.sources.kinds import Request
from app.sources.kinds.kind import Hello
from app.web.openapi import schemas
from app.web.openapi.described import described
from app.web.webhooks.receiver import Receiver

blueprint = Blueprint("receive", __name__)


def receiver() -> Receiver:
    """Return this process's receiver."""
    found: Receiver = current_app.extensions["receiver"]
    return found


@blueprint.post("/webhooks/<name>", provide_automatic_options=False)
@described(
    "door",
    {202: (schemas.Accepted, schemas.AcceptedBatch), 200: schemas.Accepted},
    body={},
    problems={400, 401, 404, 410, 413, 415, 429, 503},
    public=True,
)
def receive(name: str) -> Response:
    """Take one event; 202 once it is committed, 200 for one that is known already."""
    door = receiver()
    fails = partial(door.limits.charge_failure, request.environ)
    endpoint = door.endpoint(name, fails)
    try:
        body = read_body()
        if request.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
            raise ContentTypeUnsupported("the body must come as it is signed: no Content-Encoding is taken")
    except Rejected:
        fails()
        raise
    headers = _headers()
    greeting = endpoint.kind.greet(Hello("POST", headers, {}, body), endpoint.config)
    if greeting is not None:
        return Response(greeting.text, 200, dict(greeting.headers))
    received = Request(headers, body, time.time(), query=request.query_string)
    receipt = door.accept(endpoint, received, fails)
    if receipt.batch:
        return _answer_batch(receipt.stored, endpoint.kind.accepted_status)
    return answer_event(receipt.stored[0], endpoint.kind.accepted_status)


@blueprint.route("/webhooks/<name>", methods=["GET", "OPTIONS"], provide_automatic_options=False)
@described("door", {200: "a handshake's answer"}, problems={404, 405, 410, 429, 503}, public=True)
def greet(name: str) -> Response:
    """Answer a vendor's handshake; for every other kind and method 405."""
    door = receiver()
    fails = partial(door.limits.charge_failure, request.environ)
    endpoint = door.endpoint(name, fails)
    greeting = endpoint.kind.greet(Hello(request.method, _headers(), request.args), endpoint.config)
    if greeting is None:
        fails()
        raise MethodNotAllowed(["POST"])
    return Response(greeting.text, 200, dict(greeting.headers))


def _headers() -> dict[str, str]:
    return {header.lower(): value for header, value in request.headers.items()}


def read_body() -> bytes:
    """Return the body of this request; it can be asked for again.

    Raises:
        BodyTooLarge, BodyMalformed: it is too large, or broken off.
    """
    most = current_app.config["MAX_CONTENT_LENGTH"]
    source = request.environ["wsgi.input"]
    try:
        body = request.get_data()
        # Of what comes in chunks werkzeug reads so much, and says nothing of the rest.
        if request.content_length is None and len(body) >= most and source.read(1):
            raise RequestEntityTooLarge
    except RequestEntityTooLarge:
        # Read on for a while: a connection closed on unread bytes would be reset before the sender sees the answer.
        with contextlib.suppress(OSError, ParseException):
            source.read(2 * most)
        raise BodyTooLarge(f"the body may have {most:,} bytes at most") from None
    except (OSError, ParseException) as error:
        # gunicorn's way to say that the chunks of a body aren't chunks, or that the sender is gone.
        raise BodyMalformed("the body can't be read") from error
    if len(body) < (request.content_length or 0):
        raise BodyMalformed("the body ended early")
    return body


def _view(stored: Stored) -> dict[str, str | None]:
    return {
        "id": str(stored.id),
        "status": stored.status.name.lower(),
        "outcome": None if stored.outcome is None else stored.outcome.name.lower(),
        "lane": None if stored.outcome is Outcome.UNMAPPED else stored.lane.name.lower(),
    }


def _answer_batch(stored: Sequence[Stored], accepted_status: int) -> Response:
    kept = Counter(one.kept for one in stored)
    body = {
        "accepted": kept[Kept.NEW],
        "duplicates": kept[Kept.DUPLICATE],
        "conflicts": kept[Kept.CONFLICT],
        "events": [{**_view(one), "kept": one.kept.value.lower()} for one in stored],
    }
    return Response(orjson.dumps(body), accepted_status, content_type="application/json")


def answer_event(stored: Stored, accepted_status: int = 202) -> Response:
    """Return the answer to one event; one that is known already is 200, with X-Event-Status."""
    status = accepted_status if stored.kept is Kept.NEW else 200
    response = Response(orjson.dumps(_view(stored)), status, content_type="application/json")
    if stored.kept is not Kept.NEW:
        response.headers["X-Event-Status"] = stored.kept.value
    return response
