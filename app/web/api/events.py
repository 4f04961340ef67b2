"""Owns the API's routes: events, entities and lanes, for people with a key."""

import uuid
from dataclasses import replace

from flask import Blueprint, Response, request

from app.db.engine import transaction
from app.inbox import read, replay
from app.reporting import kpis, serializers
from app.security import audit
from app.security.audit import Action
from app.web.api import auth, forms, params
from app.web.openapi import schemas
from app.web.openapi.described import described
from app.web.webhooks.receiver import receiver

blueprint = Blueprint("events", __name__, url_prefix="/v1")


blueprint.before_request(auth.check_key)


@blueprint.get("/events")
@described("events", {200: schemas.page(schemas.Event)}, query=forms.EventParameters, problems={400})
def list_events() -> Response:
    """List events, the newest first; filters and a cursor as query parameters."""
    query = forms.event_query(request.args)
    with transaction(receiver().resources.engine) as session:
        wanted = replace(query.wanted, source_ids=auth.sources())
        found = read.events(session, wanted, after=query.after, limit=query.limit + 1)
    items = [serializers.event(event, source) for event, source in found[: query.limit]]
    more = len(found) > query.limit
    last = found[query.limit - 1][0] if more else None
    return params.answer({"items": items, "next": None if last is None else forms.cursor(last.received_at, last.id)})


@blueprint.get("/events/<event_id>")
@described("events", {200: schemas.EventInFull}, problems={404})
def show_event(event_id: str) -> Response:
    """Show one event with its reasons and timeline."""
    with transaction(receiver().resources.engine) as session:
        event, source = read.event(session, event_uuid(event_id))
        auth.require_event_of(event.source_id)
        return params.answer(serializers.event_in_full(event, source, read.headers(session, event)))


@blueprint.post("/events/<event_id>/replay")
@described("events", {202: schemas.Event}, problems={400, 404, 409})
def replay_event(event_id: str) -> Response:
    """Run an ended event again."""
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        auth.require_event_of(read.event(session, event_uuid(event_id))[0].source_id)
        replay.replay(session, event_uuid(event_id))
        audit.record(session, Action.EVENT_REPLAYED, f"event:{event_uuid(event_id)}")
        session.expire_all()
        event, source = read.event(session, event_uuid(event_id))
        return params.answer(serializers.event(event, source), 202)


@blueprint.get("/entities/<source>/<entity_type>/<path:entity_id>")
@described("entities", {200: schemas.Entity}, problems={404})
def show_entity(source: str, entity_type: str, entity_id: str) -> Response:
    """Show an entity at its newest version, or its tombstone."""
    with transaction(receiver().resources.engine) as session:
        found = read.entity(session, source, entity_type, entity_id)
        auth.require_entity_of(found.source_id)
        return params.answer(serializers.entity(source, found))


@blueprint.get("/kpis")
@described("lanes", {200: schemas.ANY_OBJECT}, query=forms.KpiParameters, problems={400})
def show_kpis() -> Response:
    """Show what the business asks, over a window of arrivals and by campaign."""
    window, limit = forms.window(request.args)
    auth.require_source(window.source)
    with transaction(receiver().resources.engine) as session:
        total, *campaigns = kpis.kpis(session, window, limit=limit)
    shown = {"since": window.since, "until": window.until, "total": serializers.kpis(total)}
    return params.answer({**shown, "campaigns": [serializers.kpis(one) for one in campaigns]})


@blueprint.get("/lanes")
@described("lanes", {200: schemas.page(schemas.Lane)})
def list_lanes() -> Response:
    """Show each lane as it is now."""
    with transaction(receiver().resources.engine) as session:
        return params.answer({"items": [serializers.lane(lane) for lane in read.lanes(session)], "next": None})


def event_uuid(text: str) -> uuid.UUID:
    """Return the id in a path.

    Raises:
        EventUnknown: it isn't one.
    """
    try:
        return uuid.UUID(text)
    except ValueError:
        raise read.EventUnknown from None
