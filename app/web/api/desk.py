"""Owns the desk's routes: events, entities and lanes, for people with a key."""

import uuid

import orjson
from flask import Blueprint, Response, g, request

from app import keys, views
from app.db import transaction
from app.inbox import kpis, read, replay
from app.models import Scope
from app.web.api import forms
from app.web.receive import receiver

blueprint = Blueprint("desk", __name__, url_prefix="/v1")


@blueprint.before_request
def check_key() -> None:
    """Let nobody in without a key that may do this; ``g.key_name`` is whose it is.

    Raises:
        KeyInvalid, ScopeMissing: there is none, or it may not.
    """
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    needed = Scope.READ if request.method in {"GET", "HEAD", "OPTIONS"} else Scope.WRITE
    limits = receiver().limits
    limits.check_address(request.environ)
    try:
        with transaction(receiver().resources.engine) as session:
            given = key.strip() if scheme.lower() == "bearer" else ""
            g.key_name = keys.check(session, receiver().vault, given, needed).name
    except keys.KeyInvalid:
        limits.charge_failure(request.environ)
        raise


@blueprint.get("/events")
def list_events() -> Response:
    """List events, the newest first; filters and a cursor as query parameters."""
    query = forms.event_query(request.args)
    with transaction(receiver().resources.engine) as session:
        found = read.events(session, query.wanted, after=query.after, limit=query.limit + 1)
    items = [views.event(event, source) for event, source in found[: query.limit]]
    more = len(found) > query.limit
    last = found[query.limit - 1][0] if more else None
    return json_response({"items": items, "next": None if last is None else forms.cursor(last.received_at, last.id)})


@blueprint.get("/events/<event_id>")
def show_event(event_id: str) -> Response:
    """Show one event with its reasons and timeline."""
    with transaction(receiver().resources.engine) as session:
        event, source = read.event(session, event_uuid(event_id))
        return json_response(views.event_in_full(event, source))


@blueprint.post("/events/<event_id>/replay")
def replay_event(event_id: str) -> Response:
    """Run an ended event again."""
    with transaction(receiver().resources.engine) as session:
        replay.replay(session, event_uuid(event_id))
        event, source = read.event(session, event_uuid(event_id))
        return json_response(views.event(event, source), 202)


@blueprint.get("/entities/<source>/<entity_type>/<path:entity_id>")
def show_entity(source: str, entity_type: str, entity_id: str) -> Response:
    """Show an entity at its newest version, or its tombstone."""
    with transaction(receiver().resources.engine) as session:
        return json_response(views.entity(source, read.entity(session, source, entity_type, entity_id)))


@blueprint.get("/kpis")
def show_kpis() -> Response:
    """Show what the business asks, over a window of arrivals and by campaign."""
    window, limit = forms.window(request.args)
    with transaction(receiver().resources.engine) as session:
        total, *campaigns = kpis.kpis(session, window, limit=limit)
    shown = {"since": window.since, "until": window.until, "total": views.kpis(total)}
    return json_response({**shown, "campaigns": [views.kpis(one) for one in campaigns]})


@blueprint.get("/lanes")
def list_lanes() -> Response:
    """Show each lane as it is now."""
    with transaction(receiver().resources.engine) as session:
        return json_response({"items": [views.lane(lane) for lane in read.lanes(session)], "next": None})


def event_uuid(text: str) -> uuid.UUID:
    """Return the id in a path.

    Raises:
        EventUnknown: it isn't one.
    """
    try:
        return uuid.UUID(text)
    except ValueError:
        raise read.EventUnknown from None


def json_response(body: object, status: int = 200) -> Response:
    """Return an answer of JSON."""
    return Response(orjson.dumps(body), status, content_type="application/json")
