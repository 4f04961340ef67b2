"""Owns the API's routes for replays of history: count first, then run behind live work."""

import uuid
from typing import Annotated

from flask import Blueprint, Response, g
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from app.db.engine import transaction
from app.errors import FieldInvalid
from app.inbox import replays
from app.reporting import serializers
from app.security import audit
from app.security.audit import Action
from app.web.api import auth, forms, params
from app.web.api.forms import EventFilterForm
from app.web.api.params import Whole
from app.web.openapi import schemas
from app.web.openapi.described import described
from app.web.openapi.document import not_null
from app.web.webhooks.receiver import receiver

blueprint = Blueprint("replays", __name__, url_prefix="/v1")
blueprint.before_request(auth.check_key)
_LISTED = 100
_FILTER = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {name: not_null(form) for name, form in EventFilterForm.model_json_schema()["properties"].items()},
}
"""The names of a list's parameters, and at least one: none would mean every event there is."""


class ReplayWanted(BaseModel):
    """The body of ``POST /v1/replays``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    filter: Annotated[dict[str, str], WithJsonSchema(_FILTER)]
    dry_run: bool = False
    id: Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})] | None = None
    """Under one id nothing is replayed twice."""
    per_s: Annotated[int, Field(ge=1, le=replays.MOST_PER_S), Whole] = replays.PER_S


@blueprint.post("/replays")
@described("replays", {200: schemas.Forecast, 202: schemas.Replay}, body=ReplayWanted, problems={400, 409})
def ask_for_replay() -> Response:
    """Say what a replay would do, or ask for one."""
    given = params.body(ReplayWanted)
    wanted = forms.event_filter(given.filter)
    auth.require_source(wanted.source)
    replay_id = uuid.uuid4() if given.id is None else _uuid(given.id)
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        if given.dry_run:
            return params.answer(serializers.forecast(replays.forecast(session, wanted)))
        replay = replays.ask(session, replay_id, wanted, per_s=given.per_s, by=f"key {g.key_name}")
        shown = serializers.replay(replay)
        audit.record(session, Action.EVENTS_REPLAYED, f"replay:{shown['id']}", filter=shown["filter"])
        return params.answer(shown, 202)


@blueprint.get("/replays")
@described("replays", {200: schemas.page(schemas.Replay)}, problems={400})
def list_replays() -> Response:
    """List the newest replays."""
    params.no_query()
    auth.require_all_sources()
    with transaction(receiver().resources.engine) as session:
        found = [serializers.replay(replay) for replay in replays.listed(session, _LISTED)]
    return params.answer({"items": found, "next": None})


@blueprint.get("/replays/<replay_id>")
@described("replays", {200: schemas.Replay}, problems={404})
def show_replay(replay_id: str) -> Response:
    """Show how far a replay has come."""
    auth.require_all_sources()
    with transaction(receiver().resources.engine) as session:
        return params.answer(serializers.replay(replays.find(session, _known(replay_id))))


@blueprint.delete("/replays/<replay_id>")
@described("replays", {200: schemas.Replay}, problems={400, 404, 409})
def stop_replay(replay_id: str) -> Response:
    """Stop a replay."""
    auth.require_all_sources()
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        stopped = replays.stop(session, _known(replay_id))
        audit.record(session, Action.REPLAY_STOPPED, f"replay:{stopped.id}")
        return params.answer(serializers.replay(stopped))


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
