"""Owns the API's routes for sources: seeing them, and as an admin adding, changing, rotating and removing them."""

from datetime import timedelta
from typing import Annotated, Any

from flask import Blueprint, Response, request
from pydantic import Field, SecretStr, WithJsonSchema
from sqlalchemy.orm import Session

from app.db.engine import transaction
from app.errors import Rejected, SourceUnknown
from app.models import Scope, Source
from app.reporting import serializers
from app.sources import configured
from app.sources.configured import Limit
from app.sources.kinds import KINDS
from app.web.api import auth, params
from app.web.api.params import Body, Query, Text, Whole
from app.web.openapi import schemas
from app.web.openapi.described import described
from app.web.webhooks.receiver import receiver

blueprint = Blueprint("desk_sources", __name__, url_prefix="/v1")
blueprint.before_request(auth.check_key)
_YEAR_S = 365 * 24 * 3600
_Secret = Annotated[SecretStr, Field(max_length=10_000)]


class SourceChanged(Rejected):
    """The source isn't as the header If-Match says any more."""


class _Add(Body):
    name: Annotated[Text, WithJsonSchema({"type": "string", "pattern": f"^{configured.NAME.pattern}$"})]
    kind: Annotated[Text, WithJsonSchema({"type": "string", "enum": sorted(KINDS)})]
    secret: _Secret
    config: dict[str, Any] = Field(default_factory=dict)


class _Limit(Body):
    per_s: Annotated[float, Field(ge=configured.SLOWEST_PER_S, le=configured.FASTEST_PER_S, allow_inf_nan=False)]
    burst: Annotated[int, Field(ge=1, le=configured.LARGEST_BURST), Whole]


class _Change(Body):
    enabled: Annotated[bool, Field(strict=True)] | None = None
    weight: Annotated[int, Field(ge=1, le=configured.MOST_WEIGHT), Whole] | None = None
    limit: _Limit | None = Field(default=None, description="null: as the settings say")
    config: dict[str, Any] | None = Field(
        default=None, description="options to change, such as mapping; null takes one away, the others stay"
    )


class _Rotate(Body):
    secret: _Secret
    grace_s: Annotated[int, Field(ge=0, le=_YEAR_S), Whole] = 24 * 3600


@blueprint.get("/sources")
@described("sources", {200: schemas.page(schemas.Source)}, query=Query, problems={400})
def list_sources() -> Response:
    """List the sources by name, never their secrets."""
    wanted = params.query(Query)
    after = params.position(wanted.cursor, str) or [""]
    with transaction(receiver().resources.engine) as session:
        found = configured.listed(session, after=after[0], limit=wanted.limit + 1, source_ids=auth.sources())
    items = [serializers.source(source) for source in found[: wanted.limit]]
    more = len(found) > wanted.limit
    return params.answer({"items": items, "next": params.cursor(items[-1]["name"]) if more else None})


@blueprint.post("/sources")
@described("sources", {201: schemas.Source}, scope=Scope.ADMIN, body=_Add, problems={400})
def add_source() -> Response:
    """Add a source; it can send at once to its path."""
    params.no_query()
    new = params.body(_Add)
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        secret = new.secret.get_secret_value()
        source = configured.add(session, receiver().vault, new.name, new.kind, secret, new.config)
        session.refresh(source)
        return _answer(source, 201, Location=f"/v1/sources/{source.name}")


@blueprint.get("/sources/<name>")
@described("sources", {200: schemas.Source}, problems={404})
def show_source(name: str) -> Response:
    """Show one source, never its secrets."""
    with transaction(receiver().resources.engine) as session:
        return _answer(_found(session, name))


@blueprint.patch("/sources/<name>")
@described(
    "sources", {200: schemas.Source}, scope=Scope.ADMIN, body=_Change, problems={400, 404, 412}, headers={"If-Match"}
)
def change_source(name: str) -> Response:
    """Switch a source on or off, or give it another weight, limit or options; what isn't named stays."""
    params.no_query()
    change = params.body(_Change)
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        source = _found(session, name)
        if change.enabled is True:
            configured.enable(session, name)
        if change.enabled is False:
            configured.switch_off(session, name)
        if change.config is not None:
            configured.configure(session, name, change.config)
        if change.weight is not None:
            configured.set_weight(session, name, change.weight)
        if "limit" in change.model_fields_set:
            limit = None if change.limit is None else Limit(change.limit.per_s, change.limit.burst)
            configured.limit(session, name, limit)
        session.flush()
        session.refresh(source)
        return _answer(source)


@blueprint.post("/sources/<name>/secret")
@described(
    "sources", {200: schemas.Source}, scope=Scope.ADMIN, body=_Rotate, problems={400, 404, 412}, headers={"If-Match"}
)
def rotate_secret(name: str) -> Response:
    """Give a source a new secret; the one before stays valid for `grace_s` seconds."""
    params.no_query()
    new = params.body(_Rotate)
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        source = _found(session, name)
        secret = new.secret.get_secret_value()
        configured.rotate_secret(session, receiver().vault, name, secret, timedelta(seconds=new.grace_s))
        session.flush()
        session.refresh(source)
        return _answer(source)


@blueprint.delete("/sources/<name>")
@described("sources", {204: "it is removed"}, scope=Scope.ADMIN, problems={400, 404, 412}, headers={"If-Match"})
def remove_source(name: str) -> Response:
    """Remove a source: its endpoint answers 404 from now on; its events and entities stay."""
    params.no_query()
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        _found(session, name)
        configured.remove(session, name)
    return Response(status=204)


def _found(session: Session, name: str) -> Source:
    """Return a source that this key may see, locked, as If-Match says that it is."""
    if "\x00" in name:
        raise SourceUnknown  # PostgreSQL's text has no NUL
    source = configured.find(session, name)
    if not auth.may_see(source.id):
        raise SourceUnknown(f"no source {name!r}")
    if request.method != "GET" and params.if_match() is not None and not request.if_match.contains(_tag(source)):
        raise SourceChanged
    return source


def _tag(source: Source) -> str:
    return f"{source.revision}-{int(source.updated_at.timestamp() * 1_000_000)}"


def _answer(source: Source, status: int = 200, **headers: str) -> Response:
    response = params.answer(serializers.source(source), status, **headers)
    response.set_etag(_tag(source))
    return response
