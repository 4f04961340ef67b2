"""Owns how policies, their history and shadows look: the API and the command line's ``--json`` show the same."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Event, PriorityChange, PriorityShadow
from app.priority.stored.versions import StoredPolicy


def policy(stored: StoredPolicy) -> dict[str, Any]:
    """Return one version with its document; the API takes it back as it is."""
    return {
        "version": stored.version,
        "state": stored.state.name.lower(),
        "author": stored.author,
        "note": stored.note,
        "created_at": stored.created_at,
        "live_from": stored.live_from,
        "policy": stored.policy.document(),
    }


def change(row: PriorityChange) -> dict[str, Any]:
    """Return one change."""
    return {
        "at": row.at,
        "author": row.author,
        "action": row.action,
        "version": row.version,
        "was": row.was,
        "note": row.note,
        "diff": row.diff,
    }


def decided(event: Event) -> dict[str, Any]:
    """Return what was decided about a stored event, or what somebody changed it to since."""
    return {
        "lane": event.lane.name.lower(),
        "priority": event.priority,
        "score": event.score,
        "reasons": event.reasons,
    }


def shadow(session: Session, version: int) -> dict[str, Any]:
    """Return what a candidate's shadow has counted: the disagreements by lanes and rule, and how many it compared."""
    rows = session.scalars(
        select(PriorityShadow).filter_by(version=version).order_by(PriorityShadow.events.desc(), PriorityShadow.rule)
    ).all()
    cells = [
        {
            "against": row.against,
            "live": row.live_lane.name.lower(),
            "candidate": row.candidate_lane.name.lower(),
            "rule": row.rule,
            "events": row.events,
        }
        for row in rows
        if row.live_lane is not row.candidate_lane
    ]
    compared = sum(row.events for row in rows)
    return {
        "version": version,
        "compared": compared,
        "disagreed": sum(cell["events"] for cell in cells),
        "disagreements": cells,
    }
