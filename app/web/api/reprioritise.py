"""Owns the API's routes that re-prioritise what already waits."""

import uuid
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, g
from pydantic import Field

from app.db.engine import transaction
from app.inbox import read
from app.inbox.reprioritise import Move, Selection, matching, reprioritise, reprioritise_all
from app.models import Lane
from app.reporting import serializers
from app.security import audit
from app.security.audit import Action
from app.web.api import auth, events, params
from app.web.api.params import Body, Instant, Text, Whole
from app.web.openapi import schemas
from app.web.openapi.described import described
from app.web.webhooks.receiver import receiver

MOST = 50_000
"""Events that one request moves: it has to end in seconds."""
_MOST_IDS = 10_000
_Name = Literal["high", "medium", "low"]
_Priority = Annotated[int, Field(ge=0, le=9), Whole]


class _Filter(Body):
    ids: Annotated[tuple[uuid.UUID, ...], Field(min_length=1, max_length=_MOST_IDS)] | None = None
    source: Text | None = None
    type: Text | None = None
    entity_type: Text | None = None
    entity_id: Text | None = None
    campaign: Text | None = None
    lane: _Name | None = None
    since: Instant | None = None
    until: Instant | None = None

    def wanted(self) -> Selection:
        """Return the filter as the inbox takes it."""
        told: dict[str, Any] = self.model_dump(exclude={"lane"})
        return Selection(**told, lane=Lane[self.lane.upper()] if self.lane else None)


class _One(Body):
    lane: _Name
    priority: _Priority | None = None
    reason: Text | None = None


class _Many(_One):
    filter: _Filter
    dry_run: Annotated[bool, Field(strict=True)] = False


blueprint = Blueprint("moves", __name__, url_prefix="/v1")
blueprint.before_request(auth.check_key)


@blueprint.post("/events/<event_id>/priority")
@described("events", {200: schemas.Event}, body=_One, problems={400, 404, 409})
def move_event(event_id: str) -> Response:
    """Give one waiting event another lane."""
    body = params.body(_One)
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        auth.require_event_of(read.event(session, events.event_uuid(event_id))[0].source_id)
        reprioritise(session, events.event_uuid(event_id), _move(body))
        subject = f"event:{events.event_uuid(event_id)}"
        audit.record(session, Action.EVENT_MOVED, subject, lane=body.lane, reason=body.reason)
        session.expire_all()
        event, source = read.event(session, events.event_uuid(event_id))
        return params.answer(serializers.event(event, source))


@blueprint.post("/reprioritisations")
@described("events", {200: schemas.Moved}, body=_Many, problems={400})
def move_events() -> Response:
    """Give every waiting event that a filter finds another lane, or tell how many that would be."""
    body = params.body(_Many)
    wanted, move = body.filter.wanted(), _move(body)
    wanted.check()
    auth.require_source(wanted.source)
    engine = receiver().resources.engine
    moved = 0
    if not body.dry_run:
        _record(body)
        for moved in reprioritise_all(lambda: transaction(engine), wanted, move, MOST):  # noqa: B007  # the last counts
            pass
    with transaction(engine) as session:
        left = matching(session, wanted, move)
    lanes = {lane.name.lower(): left.get(lane, 0) for lane in Lane}
    if body.dry_run:
        return params.answer({"dry_run": True, "count": sum(lanes.values()), "from": lanes})
    return params.answer({"dry_run": False, "count": moved, "left": sum(lanes.values())})


def _record(body: _Many) -> None:
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        said = body.filter.model_dump(mode="json", exclude_none=True)
        if "ids" in said:
            said["ids"] = len(said["ids"])
        audit.record(session, Action.EVENTS_MOVED, "events", lane=body.lane, reason=body.reason, filter=said)


def _move(body: _One) -> Move:
    return Move(Lane[body.lane.upper()], by=g.key_name, why=body.reason, priority=body.priority)
