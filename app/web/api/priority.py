"""Owns the API's routes for the priority policy: reading it, setting it, asking it why."""

import time
import uuid
from typing import Annotated, Any

from flask import Blueprint, Response, request
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from app.db.engine import transaction
from app.errors import FieldInvalid
from app.events.canonical_json import parse_object
from app.events.incoming import JsonObject
from app.inbox import read
from app.models import Scope
from app.priority import Compiled, read_policy
from app.priority.stored import serializers, subject, versions
from app.priority.stored.subject import Subject
from app.priority.stored.versions import StoredPolicy
from app.web.api import auth, params
from app.web.body import read_body
from app.web.openapi import schemas
from app.web.openapi.described import described
from app.web.webhooks.receiver import receiver

blueprint = Blueprint("priority", __name__, url_prefix="/v1/priority")
_NOTE_CHARS = 500
_READ_ONLY = {"author", "created_at", "live_from", "candidate"}
"""What GET gives and PUT doesn't look at, so that what was got can be put back."""
_ASKED = {"event_id", "event", "policy", "version"}


blueprint.before_request(auth.check_key)


class _PolicyQuery(BaseModel):
    version: Annotated[str, Field(pattern="^([0-9]{1,9}|live|candidate)$")] | None = Field(
        default=None, description="a number, `live` or `candidate`"
    )


@blueprint.get("/policy")
@described("priority", {200: schemas.Policy}, query=_PolicyQuery, problems={400, 404})
def show_policy() -> Response:
    """Show the live policy, or another version; and what the candidate's shadow has counted."""
    unknown = sorted(set(request.args) - {"version"})
    if unknown:
        raise FieldInvalid(f"no such parameter: {', '.join(unknown)}")
    with transaction(receiver().resources.engine) as session:
        return _policy(session, _version(session, request.args.get("version", "live")))


@blueprint.put("/policy")
@described(
    "priority",
    {200: schemas.Policy},
    scope=Scope.ADMIN,
    body=schemas.ANY_OBJECT,
    problems={400, 404, 412, 428},
    headers={"If-Match"},
)
def put_policy() -> Response:
    """Make a policy the live one, or the candidate."""
    given = _body()
    wrapped = "policy" in given
    document = given["policy"] if wrapped else {name: part for name, part in given.items() if name != "version"}
    state, note = _wrapping(given) if wrapped else ("live", "")
    policy = read_policy(document)
    expected = _expected(given.get("version"), needed=state == "live")
    with transaction(receiver().resources.engine) as session:
        if state == "candidate":
            stored = versions.propose(session, policy, author=auth.author(), note=note)
        else:
            stored = versions.put(session, policy, expected=expected, author=auth.author(), note=note)
        return _policy(session, stored)


@blueprint.post("/explain")
@described("priority", {200: schemas.Explained}, scope=Scope.READ, body=schemas.ANY_OBJECT, problems={400, 404})
def explain() -> Response:
    """Say where an event goes, and why: a stored one by its id, or one that stands in the body."""
    given = _body()
    unknown = sorted(given.keys() - _ASKED)
    if unknown:
        raise FieldInvalid(f"no such field: {', '.join(unknown)}; there are {', '.join(sorted(_ASKED))}")
    if ("event_id" in given) == ("event" in given):
        raise FieldInvalid("either event_id or event")
    with transaction(receiver().resources.engine) as session:
        compiled = _compiled(session, given)
        about, decided = _subject(session, given)
    explained = compiled.explain(about.incoming, kind=about.kind, at=about.at).as_json()
    return params.answer({**explained, **({} if decided is None else {"stored": decided})})


def _compiled(session: Session, given: JsonObject) -> Compiled:
    if "policy" in given:
        return Compiled(read_policy(given["policy"]))
    return _version(session, str(given.get("version", "live"))).compiled()


def _subject(session: Session, given: JsonObject) -> tuple[Subject, dict[str, Any] | None]:
    if "event" in given:
        return subject.made_up(given["event"], time.time()), None
    try:
        event_id = uuid.UUID(str(given["event_id"]))
    except ValueError:
        raise read.EventUnknown from None
    event, source = read.event(session, event_id)
    auth.require_event_of(event.source_id)
    return subject.stored(session, event, source), serializers.decided(event)


def _version(session: Session, named: str) -> StoredPolicy:
    if named == "live":
        return versions.live(session)
    if named == "candidate":
        return versions.candidate(session)
    if not (named.isascii() and named.isdigit() and len(named) < 10):  # noqa: PLR2004  # what an int column holds
        raise FieldInvalid('version is a number, "live" or "candidate"')
    return versions.find(session, int(named))


def _policy(session: Session, stored: StoredPolicy) -> Response:
    candidate = versions.candidate_version(session)
    beside = None if candidate is None else serializers.shadow(session, candidate)
    response = params.answer({**serializers.policy(stored), "candidate": beside})
    response.headers["ETag"] = f'"{stored.version}"'
    return response


def _wrapping(given: JsonObject) -> tuple[str, str]:
    unknown = sorted(given.keys() - _READ_ONLY - {"policy", "version", "state", "note"})
    if unknown:
        raise FieldInvalid(f"no such field: {', '.join(unknown)}")
    state, note = given.get("state", "live"), given.get("note", "")
    if state not in {"live", "candidate"}:
        raise FieldInvalid('state is "live" or "candidate"')
    if not isinstance(note, str) or len(note) > _NOTE_CHARS or "\x00" in note:
        raise FieldInvalid(f"note is a text of at most {_NOTE_CHARS} characters")
    return state, note


def _expected(version: object, *, needed: bool) -> int | None:
    """Return the version that is to be live still: of If-Match (RFC 9110, 13.1.1), or of the body."""
    tag = params.if_match()
    if tag == "*":
        return None
    if tag:
        digits = tag.removeprefix("W/").strip('"')
        if not (digits.isascii() and digits.isdigit() and len(digits) < 10):  # noqa: PLR2004  # what an int column holds
            raise FieldInvalid('If-Match is a version as ETag gives it, as in "3"')
        return int(digits)
    if version is None:
        if needed:
            raise versions.VersionMissing
        return None
    if not isinstance(version, int) or isinstance(version, bool):
        raise FieldInvalid("version is a number")
    return version


def _body() -> JsonObject:
    return parse_object(read_body())
