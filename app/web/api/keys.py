"""Owns the API's routes for keys and for the audit log: admins only. A key is shown once, when it is made."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from flask import Blueprint, Response
from pydantic import Field
from sqlalchemy.orm import Session

from app.db.engine import transaction
from app.errors import FieldInvalid
from app.models import ApiKey, Scope
from app.reporting import serializers
from app.security import api_keys, audit
from app.security.audit import AuditFilter
from app.web.api import auth, params
from app.web.api.params import Body, Instant, Moment, Query, Text
from app.web.openapi import schemas
from app.web.openapi.described import described
from app.web.webhooks.receiver import receiver

blueprint = Blueprint("desk_keys", __name__, url_prefix="/v1")
blueprint.before_request(auth.check_key)


class _Create(Body):
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    scope: Literal["read", "write", "admin"]
    sources: Annotated[list[Text], Field(min_length=1, max_length=1_000)] | None = None
    expires_at: Instant | None = None


class _AuditQuery(Query):
    actor: Text | None = None
    action: Text | None = None
    subject: Text | None = None
    since: Moment | None = None
    until: Moment | None = None


@blueprint.get("/keys")
@described("keys", {200: schemas.page(schemas.Key)}, scope=Scope.ADMIN, query=Query, problems={400})
def list_keys() -> Response:
    """List the keys, the newest first, never the keys themselves."""
    wanted = params.query(Query)
    after = params.position(wanted.cursor, int)
    with transaction(receiver().resources.engine) as session:
        found = api_keys.listed(session, after=None if after is None else after[0], limit=wanted.limit + 1)
        names = api_keys.source_names(session, found)
    items = [serializers.key(key, names) for key in found[: wanted.limit]]
    more = len(found) > wanted.limit
    return params.answer({"items": items, "next": params.cursor(items[-1]["id"]) if more else None})


@blueprint.post("/keys")
@described("keys", {201: schemas.NewKey}, scope=Scope.ADMIN, body=_Create, problems={400})
def create_key() -> Response:
    """Make a key; this answer is the only one that shows it."""
    params.no_query()
    new = params.body(_Create)
    if new.expires_at is not None and new.expires_at <= datetime.now(UTC):
        raise FieldInvalid("expires_at: it has passed")
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        scope = Scope[new.scope.upper()]
        made = api_keys.make(
            session, receiver().vault, new.name, scope, expires_at=new.expires_at, sources=new.sources
        )
        return _made(session, *made)


@blueprint.post("/keys/<key_id>/rotate")
@described("keys", {201: schemas.NewKey}, scope=Scope.ADMIN, problems={400, 404})
def rotate_key(key_id: str) -> Response:
    """Make a key that may do what this one may, and revoke this one."""
    params.no_query()
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        return _made(session, *api_keys.rotate(session, receiver().vault, _id(key_id)))


@blueprint.delete("/keys/<key_id>")
@described("keys", {204: "it is revoked, at once and everywhere"}, scope=Scope.ADMIN, problems={400, 404})
def revoke_key(key_id: str) -> Response:
    """Revoke a key at once, everywhere."""
    params.no_query()
    with transaction(receiver().resources.engine) as session:
        auth.sign_on(session)
        api_keys.revoke(session, _id(key_id))
    return Response(status=204)


@blueprint.get("/audit")
@described("audit", {200: schemas.page(schemas.AuditEntry)}, scope=Scope.ADMIN, query=_AuditQuery, problems={400})
def list_audit() -> Response:
    """List who did what to the system, the newest first."""
    asks = params.query(_AuditQuery)
    wanted = AuditFilter(asks.actor, asks.action, asks.subject, asks.since, asks.until)
    after = params.position(asks.cursor, int)
    with transaction(receiver().resources.engine) as session:
        found = audit.listed(session, wanted, after=None if after is None else after[0], limit=asks.limit + 1)
    items = [serializers.audit(row) for row in found[: asks.limit]]
    more = len(found) > asks.limit
    return params.answer({"items": items, "next": params.cursor(items[-1]["id"]) if more else None})


def _id(text: str) -> int:
    found = params.row_id(text)
    if found is None:
        raise api_keys.KeyUnknown
    return found


def _made(session: Session, key: str, row: ApiKey) -> Response:
    return params.answer({**serializers.key(row, api_keys.source_names(session, [row])), "key": key}, 201)
