"""Owns receive, ``POST /webhooks/{source}``: checks source, size, content type, signature, body, rate, in order.

Also what vendors ask an endpoint before they send: ``GET`` and ``OPTIONS``, for the kinds that have a handshake.
"""

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial

import orjson
from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed

from app.errors import ContentTypeUnsupported, Rejected
from app.inbox.store import Stored, StoreResult
from app.models import Outcome
from app.sources.kinds import Request
from app.sources.kinds.kind import Hello
from app.web.body import read_body
from app.web.openapi import schemas
from app.web.openapi.described import described
from app.web.webhooks.receiver import receiver

blueprint = Blueprint("receive", __name__)


@blueprint.post("/webhooks/<name>", provide_automatic_options=False)
@described(
    "webhooks",
    {202: (schemas.Accepted, schemas.AcceptedBatch), 200: schemas.Accepted},
    body={},
    problems={400, 401, 404, 410, 413, 415, 429, 503},
    public=True,
)
def receive(name: str) -> Response:
    """Take one event; 202 once it is committed, 200 for one that is known already."""
    intake = receiver()
    fails = partial(intake.limits.charge_failure, request.environ)
    endpoint = intake.endpoint(name, fails)
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
    receipt = intake.accept(endpoint, received, fails)
    if receipt.batch:
        return _answer_batch(receipt.stored, endpoint.kind.accepted_status)
    return answer_event(receipt.stored[0], endpoint.kind.accepted_status)


@blueprint.route("/webhooks/<name>", methods=["GET", "OPTIONS"], provide_automatic_options=False)
@described("webhooks", {200: "a handshake's answer"}, problems={404, 405, 410, 429, 503}, public=True)
def greet(name: str) -> Response:
    """Answer a vendor's handshake; for every other kind and method 405."""
    intake = receiver()
    fails = partial(intake.limits.charge_failure, request.environ)
    endpoint = intake.endpoint(name, fails)
    greeting = endpoint.kind.greet(Hello(request.method, _headers(), request.args), endpoint.config)
    if greeting is None:
        fails()
        raise MethodNotAllowed(["POST"])
    return Response(greeting.text, 200, dict(greeting.headers))


def _headers() -> dict[str, str]:
    return {header.lower(): value for header, value in request.headers.items()}


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
        "accepted": kept[StoreResult.NEW],
        "duplicates": kept[StoreResult.DUPLICATE],
        "conflicts": kept[StoreResult.CONFLICT],
        "events": [{**_view(one), "kept": one.kept.value.lower()} for one in stored],
    }
    return Response(orjson.dumps(body), accepted_status, content_type="application/json")


def answer_event(stored: Stored, accepted_status: int = 202) -> Response:
    """Return the answer to one event; one that is known already is 200, with X-Event-Status."""
    status = accepted_status if stored.kept is StoreResult.NEW else 200
    response = Response(orjson.dumps(_view(stored)), status, content_type="application/json")
    if stored.kept is not StoreResult.NEW:
        response.headers["X-Event-Status"] = stored.kept.value
    return response
