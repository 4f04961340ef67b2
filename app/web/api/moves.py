"""Owns the desk's routes that re-prioritise what already waits."""

import uuid
from typing import Annotated, Any, Literal, TypeVar

import orjson
from flask import Blueprint, Response, g, request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from app import views
from app.db import transaction
from app.errors import BodyMalformed, FieldInvalid
from app.inbox import read
from app.inbox.reprioritise import Move, Wanted, matching, reprioritise, reprioritise_all
from app.models import Lane
from app.web.api import desk
from app.web.receive import receiver

MOST = 50_000
"""Events that one request moves: it has to end in seconds."""
_MOST_IDS = 10_000
_Text = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
_Name = Literal["high", "medium", "low"]
_Priority = Annotated[int, Field(ge=0, le=9, strict=True)]


_Given = TypeVar("_Given", bound="_Body")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Filter(_Body):
    ids: Annotated[tuple[uuid.UUID, ...], Field(min_length=1, max_length=_MOST_IDS)] | None = None
    source: _Text | None = None
    type: _Text | None = None
    entity_type: _Text | None = None
    entity_id: _Text | None = None
    campaign: _Text | None = None
    lane: _Name | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    def wanted(self) -> Wanted:
        """Return the filter as the inbox takes it."""
        told: dict[str, Any] = self.model_dump(exclude={"lane"})
        return Wanted(**told, lane=Lane[self.lane.upper()] if self.lane else None)


class _One(_Body):
    lane: _Name
    priority: _Priority | None = None
    reason: _Text | None = None


class _Many(_One):
    filter: _Filter
    dry_run: Annotated[bool, Field(strict=True)] = False


blueprint = Blueprint("moves", __name__, url_prefix="/v1")
blueprint.before_request(desk.check_key)


@blueprint.post("/events/<event_id>/priority")
def move_event(event_id: str) -> Response:
    """Give one waiting event another lane."""
    body = _read(_One)
    with transaction(receiver().resources.engine) as session:
        reprioritise(session, desk.event_uuid(event_id), _move(body))
        event, source = read.event(session, desk.event_uuid(event_id))
        return desk.json_response(views.event(event, source))


@blueprint.post("/reprioritisations")
def move_events() -> Response:
    """Give every waiting event that a filter finds another lane, or tell how many that would be."""
    body = _read(_Many)
    wanted, move = body.filter.wanted(), _move(body)
    wanted.check()
    engine = receiver().resources.engine
    moved = 0
    if not body.dry_run:
        for moved in reprioritise_all(lambda: transaction(engine), wanted, move, MOST):  # noqa: B007  # the last counts
            pass
    with transaction(engine) as session:
        left = matching(session, wanted, move)
    lanes = {lane.name.lower(): left.get(lane, 0) for lane in Lane}
    if body.dry_run:
        return desk.json_response({"dry_run": True, "count": sum(lanes.values()), "from": lanes})
    return desk.json_response({"dry_run": False, "count": moved, "left": sum(lanes.values())})


def _move(body: _One) -> Move:
    return Move(Lane[body.lane.upper()], by=g.key_name, why=body.reason, priority=body.priority)


def _read(model: type[_Given]) -> _Given:
    try:
        given = orjson.loads(request.get_data(cache=False) or b"null")
    except orjson.JSONDecodeError as error:
        raise BodyMalformed from error
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}" for e in error.errors())
        raise FieldInvalid(wrong) from None
