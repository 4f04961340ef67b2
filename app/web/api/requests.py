"""Owns the API's routes for what senders ask: to leave, to erase, to list. Looking, and an admin's word on it."""

from typing import Literal

import orjson
from flask import Blueprint, Response
from sqlalchemy.orm import Session

from app.db.engine import transaction
from app.models import RequestStatus, Scope, SenderRequest
from app.privacy import sender_requests
from app.privacy.sender_requests import RequestFilter, RequestUnknown
from app.reporting import serializers
from app.security import audit
from app.security.audit import Action
from app.web.api import auth, params
from app.web.api.params import Query, Text
from app.web.openapi import schemas
from app.web.openapi.described import described
from app.web.webhooks.receiver import receiver

blueprint = Blueprint("desk_requests", __name__, url_prefix="/v1")
blueprint.before_request(auth.check_key)


class _RequestQuery(Query):
    source: Text | None = None
    status: Literal["waiting", "confirmed", "done", "dismissed"] | None = None


@blueprint.get("/requests")
@described("requests", {200: schemas.page(schemas.SenderRequest)}, query=_RequestQuery, problems={400})
def list_requests() -> Response:
    """List what senders asked, the newest first."""
    asks = params.query(_RequestQuery)
    after = params.position(asks.cursor, int)
    status = None if asks.status is None else (RequestStatus[asks.status.upper()],)
    wanted = RequestFilter(asks.source, status, auth.sources())
    with transaction(receiver().resources.engine) as session:
        found = sender_requests.listed(
            session, wanted, after=None if after is None else after[0], limit=asks.limit + 1
        )
    items = [serializers.sender_request(request, source) for request, source in found[: asks.limit]]
    more = len(found) > asks.limit
    return params.answer({"items": items, "next": params.cursor(items[-1]["id"]) if more else None})


@blueprint.get("/requests/<request_id>")
@described("requests", {200: schemas.SenderRequest}, problems={404})
def show_request(request_id: str) -> Response:
    """Show one request: whom it is about, and what became of it."""
    with transaction(receiver().resources.engine) as session:
        return _answer(session, _seen(session, request_id))


@blueprint.get("/requests/<request_id>/entities")
@described("requests", {200: schemas.page(schemas.HeldEntity)}, query=Query, problems={400, 404})
def list_held_entities(request_id: str) -> Response:
    """List what is kept of the customer whom a request is about, for you to hand over."""
    asks = params.query(Query)
    after = params.position(asks.cursor, str, str)
    with transaction(receiver().resources.engine) as session:
        found = sender_requests.held_entities(session, _seen(session, request_id), after=after, limit=asks.limit + 1)
    items = [{**one, "data": orjson.Fragment(one["data"])} for one in found[: asks.limit]]
    more = len(found) > asks.limit
    last = params.cursor(items[-1]["type"], items[-1]["id"]) if more else None
    return params.answer({"items": items, "next": last})


@blueprint.get("/requests/<request_id>/events")
@described("requests", {200: schemas.page(schemas.HeldEvent)}, query=Query, problems={400, 404})
def list_held_events(request_id: str) -> Response:
    """List the events that brought what is kept of that customer, the oldest first."""
    asks = params.query(Query)
    after = params.position(asks.cursor, str)
    position = None if after is None else params.event_position(after[0])
    with transaction(receiver().resources.engine) as session:
        found = sender_requests.held_events(session, _seen(session, request_id), after=position, limit=asks.limit + 1)
    items = found[: asks.limit]
    more = len(found) > asks.limit
    return params.answer({"items": items, "next": params.cursor(items[-1]["id"]) if more else None})


@blueprint.post("/requests/<request_id>/confirm")
@described("requests", {202: schemas.SenderRequest}, scope=Scope.ADMIN, problems={400, 404})
def confirm_request(request_id: str) -> Response:
    """Let a request be carried out within a minute, whatever is left of its grace. It can't be undone."""
    params.no_query()
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        request = sender_requests.confirm(session, _id(request_id), auth.author())
        audit.record(session, Action.REQUEST_CONFIRMED, f"request:{request.id}")
        return _answer(session, request, 202)


@blueprint.post("/requests/<request_id>/dismiss")
@described("requests", {200: schemas.SenderRequest}, scope=Scope.ADMIN, problems={400, 404})
def dismiss_request(request_id: str) -> Response:
    """End a request without doing it; a source that was leaving stays."""
    params.no_query()
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        request = sender_requests.dismiss(session, _id(request_id), auth.author())
        audit.record(session, Action.REQUEST_DISMISSED, f"request:{request.id}")
        session.flush()
        session.refresh(request)
        return _answer(session, request)


def _seen(session: Session, request_id: str) -> SenderRequest:
    request = sender_requests.known(session, _id(request_id))
    if not auth.may_see(request.source_id):
        raise RequestUnknown
    return request


def _id(text: str) -> int:
    found = params.row_id(text)
    if found is None:
        raise RequestUnknown
    return found


def _answer(session: Session, request: SenderRequest, status: int = 200) -> Response:
    return params.answer(serializers.sender_request(request, sender_requests.source_name(session, request)), status)
