"""Owns ``POST /v1/events``: the authenticated endpoint for first-party events, such as campaign triggers and leads.

The body has the form of Standard Webhooks; the key takes the place of the signature, Idempotency-Key that of the
``webhook-id``. From there on it is an event like every other.
"""

import time

from flask import Blueprint, Response

from app.db.engine import transaction
from app.errors import FieldInvalid, SourceUnknown
from app.events import canonical_json
from app.models import Scope
from app.sources import configured
from app.sources.configured import FIRST_PARTY, Endpoint
from app.sources.kinds import Request, fields, standard
from app.web.api import auth, idempotency, params
from app.web.body import read_body
from app.web.openapi import schemas
from app.web.openapi.described import described
from app.web.webhooks.receiver import receiver
from app.web.webhooks.views import answer_event

blueprint = Blueprint("desk_events", __name__, url_prefix="/v1")
blueprint.before_request(auth.check_key)
_ID = {"type": "string", "minLength": 1, "maxLength": 500, "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]+$"}
_BODY = {
    "type": "object",
    "required": ["type", "data"],
    "properties": {
        "type": {
            "type": "string",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
            "maxLength": 100,
            "description": "noun.past-tense, as in campaign.triggered",
        },
        "data": {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"anyOf": [_ID, {"type": "integer"}]}},
            "description": "your object, with its id",
        },
        "timestamp": {
            "type": "string",
            "format": "date-time",
            "description": "the version, if data has no updated_at",
        },
        "source": {"type": "string", "description": f"a source of the kind standard; default: {FIRST_PARTY}"},
    },
}


@blueprint.post("/events")
@described(
    "events",
    {202: schemas.Accepted, 200: schemas.Accepted},
    scope=Scope.WRITE,
    body=_BODY,
    problems={400, 404, 410},
    headers={"Idempotency-Key"},
)
def post_event() -> Response:
    """Take one event of your own; 202 once it is committed, 200 for one that is known already."""
    params.no_query()
    intake = receiver()
    external_id = idempotency.key()
    if external_id is None:
        raise FieldInvalid(f"the header {idempotency.HEADER} is missing: it makes sending an event twice harmless")
    given = canonical_json.parse_object(read_body())
    name = given.pop("source", FIRST_PARTY)
    if not isinstance(name, str):
        raise FieldInvalid("source must be text")
    # Before it is looked up: a limited key learns nothing of other sources' names, and makes none.
    auth.require_source(name)
    endpoint = _endpoint(name)
    sent = Request({"webhook-id": external_id}, canonical_json.dump(given), time.time())
    config = endpoint.config if isinstance(endpoint.config, standard.StandardConfig) else standard.StandardConfig()
    fields.label(given.get("type"), "/type")
    (incoming,) = standard.interpret(standard.open_(sent, (), config), sent, config, endpoint.name)
    return answer_event(intake.take(endpoint, incoming, sent.received_at))


def _endpoint(name: str) -> Endpoint:
    intake = receiver()
    endpoint = intake.endpoints.known(name)
    if endpoint is None and name == FIRST_PARTY:
        with transaction(intake.resources.engine) as session:
            auth.sign_on(session)
            configured.first_party(session)
    endpoint = endpoint or intake.endpoints.fresh(name)
    if endpoint.kind.name != standard.KIND.name:
        raise SourceUnknown(f"{name!r} is of another kind: post to a source of the kind {standard.KIND.name}")
    return endpoint
