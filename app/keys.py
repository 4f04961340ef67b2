"""Owns the desk's keys: made, shown once, checked in constant time, revoked at once."""

import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.errors import Rejected
from app.models import ApiKey, Scope
from app.vault import Vault

_PREFIX = "tk_"


class KeyInvalid(Rejected):
    """The request needs a valid key: Authorization: Bearer KEY."""


class ScopeMissing(Rejected):
    """The key's scope doesn't allow this."""


class KeyUnknown(Rejected):
    """No key of this id."""


def create(session: Session, vault: Vault, name: str, scope: Scope) -> str:
    """Make a key and return it: it can't be shown again."""
    key = _PREFIX + secrets.token_urlsafe(32)
    session.add(ApiKey(name=name, scope=scope, digest=vault.key_digest(key)))
    return key


def check(session: Session, vault: Vault, key: str, needed: Scope) -> ApiKey:
    """Return the key's row if it may do what ``needed`` says.

    The look-up goes by an HMAC of the key, so its time says nothing about any stored one.

    Raises:
        KeyInvalid, ScopeMissing: the key is unknown or revoked, or its scope is too small.
    """
    statement = select(ApiKey).filter_by(digest=vault.key_digest(key), revoked_at=None)
    found = session.scalars(statement).one_or_none() if key.startswith(_PREFIX) else None
    if found is None:
        raise KeyInvalid
    if found.scope < needed:
        raise ScopeMissing(f"this needs a key of scope {needed.name.lower()}")
    # Once a minute is exact enough, and keeps reading the desk from writing to it.
    stale = (ApiKey.last_used_at.is_(None)) | (ApiKey.last_used_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 1))
    session.execute(update(ApiKey).where(ApiKey.id == found.id, stale).values(last_used_at=func.now()))
    return found


def listed(session: Session) -> Sequence[ApiKey]:
    """Return every key's row, the newest first."""
    return session.scalars(select(ApiKey).order_by(ApiKey.id.desc())).all()


def revoke(session: Session, key_id: int) -> datetime:
    """Revoke a key at once, everywhere; return since when it is.

    Raises:
        KeyUnknown: no key of this id.
    """
    statement = (
        update(ApiKey).where(ApiKey.id == key_id).values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
    )
    since = session.execute(statement.returning(ApiKey.revoked_at)).scalar_one_or_none()
    if since is None:
        raise KeyUnknown(f"no key {key_id}")
    return since
