"""Owns how the API shows things; the command line's ``--json`` shows the same."""

from collections.abc import Mapping
from typing import Any

import orjson

from app.inbox import read, replays
from app.inbox.read import LaneView
from app.models import ApiKey, Audit, Entity, Event, EventConflict, Outcome, Replay, RequestKind, SenderRequest, Source
from app.reporting.kpis import Kpis


def event(event: Event, source: str) -> dict[str, Any]:
    """Return an event as a line of a list."""
    return {
        "id": str(event.id),
        "source": source,
        "external_id": event.external_id,
        "type": event.type,
        "entity_type": event.entity_type,
        "entity_id": event.entity_id,
        "operation": event.operation.name.lower(),
        "version": event.version_text,
        "lane": None if event.outcome is Outcome.UNMAPPED else event.lane.name.lower(),
        "priority": event.priority,
        "score": event.score,
        "status": event.status.name.lower(),
        "outcome": event.outcome.name.lower() if event.outcome else None,
        "attempts": event.attempts,
        "error": event.error,
        "received_at": event.received_at,
        "finished_at": event.finished_at,
    }


def event_in_full(one: Event, source: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return an event with its reasons, timeline and redacted payload; ``headers``: those that are kept of it."""
    return {
        **event(one, source),
        "reasons": one.reasons,
        "due_at": one.due_at,
        "effective_at": one.effective_at,
        "expires_at": one.expires_at,
        "campaign": one.campaign,
        "timeline": read.timeline(one),
        "headers": headers,
        "payload": orjson.Fragment(one.payload),
    }


def entity(source: str, entity: Entity) -> dict[str, Any]:
    """Return an entity; ``data`` is the sender's object with every digit kept."""
    return {
        "source": source,
        "type": entity.entity_type,
        "id": entity.entity_id,
        "version": entity.version_text,
        "deleted": entity.data is None,
        "data": None if entity.data is None else orjson.Fragment(entity.data),
        "event_id": str(entity.event_id),
        "applied_at": entity.applied_at,
    }


def lane(lane: LaneView) -> dict[str, Any]:
    """Return a lane."""
    return {
        "lane": lane.lane.name.lower(),
        "waiting": lane.waiting,
        "scheduled": lane.scheduled,
        "in_flight": lane.in_flight,
        "oldest_due_age_s": lane.oldest_due_age_s,
        "in_per_s": lane.in_per_s,
        "out_per_s": lane.out_per_s,
        "latency_ms": {"p50": lane.p50_ms, "p95": lane.p95_ms, "p99": lane.p99_ms},
        "shed": lane.shed,
        "shed_total": lane.shed_total,
    }


def kpis(one: Kpis) -> dict[str, Any]:
    """Return the figures of a window or a campaign."""
    return {
        "source": one.source,
        "campaign": one.campaign,
        "events": one.events,
        "ended": one.ended,
        "latency_s": {
            "mean": one.latency_mean_s,
            "p50": one.latency_p50_s,
            "p95": one.latency_p95_s,
            "max": one.latency_max_s,
        },
        "on_time_rate": one.on_time_rate,
        "throughput_per_s": one.throughput_per_s,
        "error_rate": one.error_rate,
        "wait_s": {"mean": one.wait_mean_s, "peak": one.wait_peak_s},
        "uptime": one.uptime,
    }


def source(source: Source) -> dict[str, Any]:
    """Return a source without its secrets: only how many there are and when each ends."""
    return {
        "name": source.name,
        "kind": source.kind,
        "path": f"/webhooks/{source.name}",
        "config": source.config,
        "enabled": source.enabled,
        "limit": None if source.limit_per_s is None else {"per_s": source.limit_per_s, "burst": source.limit_burst},
        "leaving_since": source.leaving_since,
        "revision": source.revision,
        "weight": source.weight,
        "secrets": [{"until": kept.get("until")} for kept in source.secrets],
        "created_at": source.created_at,
        "updated_at": source.updated_at,
    }


def key(key: ApiKey, sources: Mapping[int, str]) -> dict[str, Any]:
    """Return a key's row; the key itself is nowhere. ``sources`` are the names of those that it may be limited to."""
    limited = key.source_ids
    return {
        "id": key.id,
        "name": key.name,
        "scope": key.scope.name.lower(),
        "sources": None if limited is None else [sources[source_id] for source_id in limited],
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


def forecast(forecast: replays.Forecast) -> dict[str, Any]:
    """Return what a replay would do."""
    fates = {"apply": forecast.apply, "stale": forecast.stale}
    fates |= {"duplicate": forecast.duplicate, "tombstoned": forecast.tombstoned}
    return {"dry_run": True, "count": forecast.count, "would": fates}


def replay(replay: Replay) -> dict[str, Any]:
    """Return a replay and how far it has come."""
    return {
        "id": str(replay.id),
        "state": replay.state.name.lower(),
        "filter": replays.as_words(replay.wanted),
        "count": replay.matching,
        "replayed": replay.replayed,
        "per_s": replay.per_s,
        "requested_by": replay.requested_by,
        "created_at": replay.created_at,
        "finished_at": replay.finished_at,
    }


def sender_request(request: SenderRequest, source: str) -> dict[str, Any]:
    """Return what a sender asked, and what became of it."""
    return {
        "id": request.id,
        "source": source,
        "kind": request_kind(request.kind),
        "status": request.status.name.lower(),
        "subject": request.subject,
        "event_id": str(request.event_id),
        "received_at": request.received_at,
        "decided_by": request.decided_by,
        "done_at": request.done_at,
        "result": request.result,
    }


def request_kind(kind: RequestKind) -> str:
    """Return what a sender asks, in words."""
    return kind.name.lower().replace("_", " ")


def conflict(conflict: EventConflict, first: Event | None, source: str | None) -> dict[str, Any]:
    """Return a conflict that waits: whose key it has, and both contents."""
    return {
        "event_id": str(conflict.event_id),
        "fingerprint": conflict.fingerprint.hex()[:16],
        "source": source,
        "external_id": first.external_id if first else None,
        "entity": f"{first.entity_type}/{first.entity_id}" if first else None,
        "received_at": conflict.received_at,
        "first": orjson.Fragment(first.payload) if first else None,
        "second": orjson.Fragment(conflict.payload),
    }


def audit(row: Audit) -> dict[str, Any]:
    """Return one entry of the audit log."""
    return {
        "id": row.id,
        "at": row.at,
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "detail": row.detail,
    }
