"""Owns the desk's routes for replays of history: count first, then run behind live work."""

import uuid
from typing import Annotated, Any

import orjson
from flask import Blueprint, Response, g, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app import views
from app.db import transaction
from app.errors import FieldInvalid
from app.inbox import replays
from app.web.api import forms
from app.web.api.desk import check_key
from app.web.receive import receiver

blueprint = Blueprint("replays", __name__, url_prefix="/v1")
blueprint.before_request(check_key)
_LISTED = 100


class ReplayWanted(BaseModel):
    """The body of ``POST /v1/replays``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    filter: dict[str, str]
    dry_run: bool = False
    id: str | None = None
    """Under one id nothing is replayed twice."""
    per_s: Annotated[int, Field(ge=1, le=replays.MOST_PER_S)] = replays.PER_S


@blueprint.post("/replays")
def ask_for_replay() -> Response:
    """Say what a replay would do, or ask for one."""
    asked = _body()
    wanted = forms.event_filter(asked.filter)
    replay_id = uuid.uuid4() if asked.id is None else _uuid(asked.id)
    with transaction(receiver().resources.engine) as session:
        if asked.dry_run:
            return _json(views.forecast(replays.forecast(session, wanted)))
        replay = replays.ask(session, replay_id, wanted, per_s=asked.per_s, by=f"key {g.key_name}")
        return _json(views.replay(replay), 202)


@blueprint.get("/replays")
def list_replays() -> Response:
    """List the newest replays."""
    with transaction(receiver().resources.engine) as session:
        found = [views.replay(replay) for replay in replays.listed(session, _LISTED)]
    return _json({"items": found, "next": None})


@blueprint.get("/replays/<replay_id>")
def show_replay(replay_id: str) -> Response:
    """Show how far a replay has come."""
    with transaction(receiver().resources.engine) as session:
        return _json(views.replay(replays.find(session, _known(replay_id))))


@blueprint.delete("/replays/<replay_id>")
def stop_replay(replay_id: str) -> Response:
    """Stop a replay."""
    with transaction(receiver().resources.engine) as session:
        return _json(views.replay(replays.stop(session, _known(replay_id))))


def _body() -> ReplayWanted:
    try:
        return ReplayWanted.model_validate_json(request.get_data())
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}" for e in error.errors())
        raise FieldInvalid(wrong) from None


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise FieldInvalid("id isn't a UUID") from None


def _known(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise replays.ReplayUnknown from None


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, content_type="application/json")
