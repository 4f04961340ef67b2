"""Owns the audit log: everything that somebody did to the system, who and when. Never changes or deletes a row.

Recorded in the transaction of the deed, so neither is ever there without the other. The detail never holds a secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Audit

_ACTOR = "actor"
SYSTEM = "tiercel"


class Action(StrEnum):
    """What can be done to the system."""

    SOURCE_ADDED = "source.added"
    SOURCE_ROTATED = "source.secret-rotated"
    SOURCE_CHANGED = "source.changed"
    SOURCE_REMOVED = "source.removed"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    EVENT_REPLAYED = "event.replayed"
    EVENT_MOVED = "event.moved"
    EVENTS_MOVED = "events.moved"
    EVENT_RELEASED = "event.released"
    EVENTS_RELEASED = "events.released"
    EVENTS_REPLAYED = "events.replayed"
    REPLAY_STOPPED = "replay.stopped"
    CONFLICT_RESOLVED = "conflict.resolved"
    REQUEST_CONFIRMED = "request.confirmed"
    REQUEST_DISMISSED = "request.dismissed"
    SECRETS_SEALED = "secrets.sealed-anew"
    POLICY_SET = "policy.set"
    POLICY_PROMOTED = "policy.promoted"
    POLICY_ROLLED_BACK = "policy.rolled-back"
    POLICY_PROPOSED = "policy.proposed"
    POLICY_WITHDRAWN = "policy.withdrawn"


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries to list; None doesn't filter."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def acting(session: Session, actor: str) -> None:
    """Say who does whatever this session will do."""
    session.info[_ACTOR] = actor


def record(session: Session, action: Action, subject: str, *, actor: str | None = None, **detail: Any) -> None:
    """Write down what is done in this session's transaction; without ``actor`` by whom ``acting`` named."""
    who = actor or session.info.get(_ACTOR, SYSTEM)
    session.add(Audit(actor=who, action=action.value, subject=subject, detail=detail))
    session.flush()


def listed(session: Session, wanted: AuditFilter, *, after: int | None, limit: int) -> Sequence[Audit]:
    """Return at most ``limit`` entries, the newest first, those after a position."""
    statement = select(Audit).order_by(Audit.id.desc()).limit(limit)
    for column, value in (
        (Audit.actor, wanted.actor),
        (Audit.action, wanted.action),
        (Audit.subject, wanted.subject),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if wanted.since is not None:
        statement = statement.where(Audit.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(Audit.at < wanted.until)
    if after is not None:
        statement = statement.where(Audit.id < after)
    return session.scalars(statement).all()
