"""Owns who may come in to the API: the key, its scope, the sources that it is limited to.

Each route says what it needs with ``described(scope=…)``; else it needs ``read`` to look, ``write`` to change.
"""

from flask import Response, current_app, g, request
from sqlalchemy.orm import Session

from app.db.engine import transaction
from app.errors import ContentTypeUnsupported
from app.inbox.read import EntityUnknown, EventUnknown
from app.models import ApiKey, Scope
from app.security import api_keys
from app.security.audit import acting
from app.web.api import idempotency
from app.web.openapi import described
from app.web.webhooks.receiver import receiver

_LOOKS = {"GET", "HEAD", "OPTIONS"}


def check_key() -> Response | None:
    """Let nobody in without a key that may do this; answer a repeated request as it was answered before.

    Raises:
        KeyInvalid, ScopeMissing: there is no key, or it may not.
        AbnormalUsageDetected: too many keys from this address were no keys.
        ContentTypeUnsupported: the body isn't said to be JSON.
    """
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    limits = receiver().limits
    limits.check_address(request.environ)
    try:
        with transaction(receiver().resources.engine) as session:
            given = key.strip() if scheme.lower() == "bearer" else ""
            g.key = api_keys.check(session, receiver().vault, given, needed())
    except api_keys.KeyInvalid:
        limits.charge_failure(request.environ)
        raise
    g.key_name = g.key.name
    if request.method not in _LOOKS and _has_body() and not _is_json(request.mimetype):
        raise ContentTypeUnsupported
    return idempotency.begin(g.key.id, reads=needed() is Scope.READ)


def _has_body() -> bool:
    return bool(request.content_length) or "Transfer-Encoding" in request.headers


def needed() -> Scope:
    """Return the scope that the route of this request asks for."""
    said = described.of(current_app.view_functions[request.endpoint or ""])
    if said is not None and said.scope is not None:
        return said.scope
    return Scope.READ if request.method in _LOOKS else Scope.WRITE


def caller() -> ApiKey:
    """Return the key that this request came with."""
    found: ApiKey = g.key
    return found


def author() -> str:
    """Return who makes this request, as the audit log names it."""
    return f"key:{caller().name}#{caller().id}"


def sign_on(session: Session) -> None:
    """Say to the audit log that whatever this session does, this request's key does."""
    acting(session, author())


def sources() -> tuple[int, ...] | None:
    """Return the sources that this request's key is limited to; None: it isn't."""
    limited = caller().source_ids
    return None if limited is None else tuple(limited)


def may_see(source_id: int) -> bool:
    """Tell whether this request's key may see what is of a source."""
    limited = caller().source_ids
    return limited is None or source_id in limited


def require_event_of(source_id: int) -> None:
    """Hide an event of a source that the key doesn't reach: it is as if it weren't there.

    Raises:
        EventUnknown: the key doesn't reach it.
    """
    if not may_see(source_id):
        raise EventUnknown


def require_entity_of(source_id: int) -> None:
    """Hide an entity in the same way.

    Raises:
        EntityUnknown: the key doesn't reach it.
    """
    if not may_see(source_id):
        raise EntityUnknown


def require_source(name: str | None) -> None:
    """Refuse a key that is limited to sources, unless one of them is named: for what concerns many events.

    Raises:
        ScopeMissing: the key is limited, and none of its sources is named.
    """
    if caller().source_ids is None:
        return
    with transaction(receiver().resources.engine) as session:
        names = api_keys.source_names(session, [caller()]).values()
    if name not in names:
        raise api_keys.ScopeMissing("this key is limited to sources: the filter has to name one of them")


def require_all_sources() -> None:
    """Refuse a key that is limited to sources, for what concerns them all.

    Raises:
        ScopeMissing: it is.
    """
    if caller().source_ids is not None:
        raise api_keys.ScopeMissing("this needs a key that isn't limited to sources")


def _is_json(mimetype: str) -> bool:
    return mimetype == "application/json" or (mimetype.startswith("application/") and mimetype.endswith("+json"))
