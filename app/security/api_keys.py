"""Owns the API's keys: made, shown once, checked in constant time, ended at once by revoking or by their time."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from app.errors import FieldInvalid, Rejected
from app.models import ApiKey, Scope, Source
from app.security import audit
from app.security.audit import Action
from app.security.vault import Vault

_PREFIX = "tk_"
_NAME_CHARS = 200
_MOST_SOURCES = 1_000


class KeyInvalid(Rejected):
    """The request needs a valid key: Authorization: Bearer KEY."""


class ScopeMissing(Rejected):
    """The key's scope doesn't allow this."""


class KeyUnknown(Rejected):
    """No key of this id."""


def create(
    session: Session,
    vault: Vault,
    name: str,
    scope: Scope,
    *,
    expires_at: datetime | None = None,
    sources: Sequence[str] | None = None,
) -> str:
    """Make a key and return it: it can't be shown again. ``sources`` are the names that it is limited to.

    Raises:
        FieldInvalid: the name, time or a source can't be, or an admin's key would be limited to sources.
    """
    return make(session, vault, name, scope, expires_at=expires_at, sources=sources)[0]


def make(
    session: Session,
    vault: Vault,
    name: str,
    scope: Scope,
    *,
    expires_at: datetime | None = None,
    sources: Sequence[str] | None = None,
) -> tuple[str, ApiKey]:
    """Make a key and return it with its row. Raises what ``create`` raises."""
    if not name.strip() or len(name) > _NAME_CHARS or not name.isprintable():
        raise FieldInvalid(f"a key's name is 1 to {_NAME_CHARS} printable characters")
    source_ids = None if sources is None else _source_ids(session, sources)
    if source_ids is not None and scope is Scope.ADMIN:
        raise FieldInvalid("an admin's key can't be limited to sources: it could make one that isn't")
    return _make(session, vault, name, scope, expires_at, source_ids)


def rotate(session: Session, vault: Vault, key_id: int) -> tuple[str, ApiKey]:
    """Make a key that may do what another may, and revoke that one.

    Raises:
        KeyUnknown: no key of this id that works.
    """
    statement = select(ApiKey).filter_by(id=key_id, revoked_at=None).with_for_update()
    old = session.scalars(statement).one_or_none()
    if old is None:
        raise KeyUnknown(f"no key {key_id} that isn't revoked")
    made = _make(session, vault, old.name, old.scope, old.expires_at, old.source_ids)
    revoke(session, key_id)
    return made


def check(session: Session, vault: Vault, key: str, needed: Scope) -> ApiKey:
    """Return the key's row if it may do what ``needed`` says.

    The look-up goes by an HMAC of the key, so its time says nothing about any stored one.

    Raises:
        KeyInvalid, ScopeMissing: the key is unknown, revoked or at its end, or its scope is too small.
    """
    alive = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())
    statement = select(ApiKey).filter_by(digest=vault.key_digest(key), revoked_at=None).where(alive)
    found = session.scalars(statement).one_or_none() if key.startswith(_PREFIX) else None
    if found is None:
        raise KeyInvalid
    if found.scope < needed:
        raise ScopeMissing(f"this needs a key of scope {needed.name.lower()}")
    # Once a minute is exact enough, and keeps reading the API from writing to it.
    stale = (ApiKey.last_used_at.is_(None)) | (ApiKey.last_used_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 1))
    session.execute(update(ApiKey).where(ApiKey.id == found.id, stale).values(last_used_at=func.now()))
    return found


def listed(session: Session, *, after: int | None = None, limit: int | None = None) -> Sequence[ApiKey]:
    """Return every key's row, the newest first; at most ``limit``, those after an id."""
    statement = select(ApiKey).order_by(ApiKey.id.desc()).limit(limit)
    return session.scalars(statement if after is None else statement.where(ApiKey.id < after)).all()


def revoke(session: Session, key_id: int) -> datetime:
    """Revoke a key at once, everywhere; return since when it is.

    Raises:
        KeyUnknown: no key of this id.
    """
    found = session.scalars(select(ApiKey).filter_by(id=key_id).with_for_update()).one_or_none()
    if found is None:
        raise KeyUnknown(f"no key {key_id}")
    if found.revoked_at is None:
        found.revoked_at = func.now()
        session.flush()
        session.refresh(found)
        audit.record(session, Action.KEY_REVOKED, f"key:{key_id}", name=found.name)
    since = found.revoked_at
    if since is None:  # pragma: no cover  # the database has just set it
        raise KeyUnknown
    return since


def source_names(session: Session, rows: Sequence[ApiKey]) -> dict[int, str]:
    """Return the names of the sources that these keys are limited to, by id."""
    wanted = {source_id for row in rows for source_id in row.source_ids or ()}
    if not wanted:
        return {}
    found = session.execute(select(Source.id, Source.name).where(Source.id.in_(wanted)))
    return {source_id: name for source_id, name in found}  # noqa: C416  # of rows


def _make(
    session: Session, vault: Vault, name: str, scope: Scope, expires_at: datetime | None, source_ids: list[int] | None
) -> tuple[str, ApiKey]:
    key = _PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(name=name, scope=scope, digest=vault.key_digest(key), expires_at=expires_at, source_ids=source_ids)
    session.add(row)
    session.flush()
    session.refresh(row)
    said: dict[str, Any] = {"name": name, "scope": scope.name.lower(), "source_ids": source_ids}
    ends = None if expires_at is None else expires_at.isoformat()
    audit.record(session, Action.KEY_CREATED, f"key:{row.id}", **said, expires_at=ends)
    return key, row


def _source_ids(session: Session, names: Sequence[str]) -> list[int]:
    if not 1 <= len(names) <= _MOST_SOURCES:
        raise FieldInvalid(f"a key is limited to 1 to {_MOST_SOURCES} sources, or to none")
    found = dict(session.execute(select(Source.name, Source.id).where(Source.name.in_(names))).tuples().all())
    missing = sorted(set(names) - set(found))
    if missing:
        raise FieldInvalid(f"no such source: {', '.join(missing)}")
    return sorted(found.values())
