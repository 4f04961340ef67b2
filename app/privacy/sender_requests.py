"""Owns what becomes of the requests that senders make: a grace period or a person's word, then the deed, its record.

To leave disables the source; to erase erases (``app/privacy/erase.py``); to list is left to a person, who is shown
what there is. A request that would erase a whole source is carried out without a person only where the source's
options name the same shop: one app's secret may sign for many.
"""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.db.engine import transaction
from app.errors import Rejected
from app.models import RequestKind, RequestStatus, SenderRequest, Source
from app.privacy import erase
from app.sources import configured

_LOG = structlog.get_logger()
_BATCH = 2_000
OPEN = (RequestStatus.WAITING, RequestStatus.CONFIRMED)


class RequestUnknown(Rejected):
    """No open request of this number."""


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which requests to list; None doesn't filter."""

    source: str | None = None
    statuses: tuple[RequestStatus, ...] | None = None
    source_ids: tuple[int, ...] | None = None


def listed(
    session: Session, wanted: RequestFilter, *, after: int | None = None, limit: int | None = None
) -> Sequence[tuple[SenderRequest, str]]:
    """Return requests with their sources' names, newest first; at most ``limit``, those after an id."""
    statement = select(SenderRequest, Source.name).join(Source, Source.id == SenderRequest.source_id)
    if wanted.source is not None:
        statement = statement.where(Source.name == wanted.source)
    if wanted.statuses is not None:
        statement = statement.where(SenderRequest.status.in_([int(status) for status in wanted.statuses]))
    if wanted.source_ids is not None:
        statement = statement.where(SenderRequest.source_id.in_(wanted.source_ids))
    if after is not None:
        statement = statement.where(SenderRequest.id < after)
    found = session.execute(statement.order_by(SenderRequest.id.desc()).limit(limit))
    return [(request, source) for request, source in found]  # noqa: C416  # of rows


def known(session: Session, request_id: int) -> SenderRequest:
    """Return a request, open or not, to look at.

    Raises:
        RequestUnknown: there is none of this number.
    """
    request = session.get(SenderRequest, request_id)
    if request is None:
        raise RequestUnknown
    return request


def source_name(session: Session, request: SenderRequest) -> str:
    """Return the name of the source whose sender asked."""
    return session.get_one(Source, request.source_id).name


def find(session: Session, request_id: int) -> SenderRequest:
    """Return an open request, locked.

    Raises:
        RequestUnknown: there is none of this number.
    """
    request = session.get(SenderRequest, request_id, with_for_update=True)
    if request is None or request.status not in OPEN:
        raise RequestUnknown
    return request


def held(session: Session, request: SenderRequest) -> dict[str, Any]:
    """Return what is kept of the customer whom a request is about."""
    return erase.listed(session, request.source_id, _keys(session, request))


def held_entities(
    session: Session, request: SenderRequest, *, after: Sequence[str] | None, limit: int
) -> list[dict[str, Any]]:
    """Return a page of the entities kept of that customer, those after a (type, id); data is JSON text."""
    return erase.entities_of(session, request.source_id, _keys(session, request), after=after, limit=limit)


def held_events(
    session: Session, request: SenderRequest, *, after: uuid.UUID | None, limit: int
) -> list[dict[str, Any]]:
    """Return a page of the events that brought it, those after an id."""
    return erase.events_of(session, request.source_id, _keys(session, request), after=after, limit=limit)


def _keys(session: Session, request: SenderRequest) -> erase.Keys:
    if not request.subject.get("customer_id"):
        return []
    return erase.customer_keys(session, request.source_id, request.subject)


def confirm(session: Session, request_id: int, who: str) -> SenderRequest:
    """Let a request be carried out at once. Raises what ``find`` raises."""
    request = find(session, request_id)
    request.status, request.decided_by = RequestStatus.CONFIRMED, who
    return request


def dismiss(session: Session, request_id: int, who: str) -> SenderRequest:
    """End a request without doing it. Raises what ``find`` raises."""
    request = find(session, request_id)
    request.status, request.decided_by, request.done_at = RequestStatus.DISMISSED, who, func.now()
    if request.kind is RequestKind.LEAVE:
        session.get_one(Source, request.source_id, with_for_update=True).leaving_since = None
    return request


def carry_out_due(engine: Engine, grace: timedelta) -> int:
    """Carry out every request that is confirmed or whose grace is over; return how many were done."""
    with transaction(engine) as session:
        statement = select(SenderRequest).where(SenderRequest.status.in_([int(status) for status in OPEN]))
        is_over = SenderRequest.received_at <= func.now() - grace
        due = [request.id for request in session.scalars(statement.where(_confirmed() | is_over))]
    return sum(carry_out(engine, request_id) for request_id in sorted(due))


def _confirmed() -> Any:
    return SenderRequest.status == int(RequestStatus.CONFIRMED)


def carry_out(engine: Engine, request_id: int) -> bool:
    """Carry out one request, in as many transactions as it needs; tell whether it is done."""
    gone: Counter[str] = Counter()
    while True:
        with transaction(engine) as session:
            request = session.get(SenderRequest, request_id, with_for_update={"skip_locked": True})
            if request is None or request.status not in OPEN or not _may(session, request):
                return False
            step = _step(session, request)
            gone.update(step)
            request.result = dict(Counter(request.result) + Counter(step))
            if step and request.kind is RequestKind.ERASE_SHOP:
                continue
            if request.kind is RequestKind.ERASE_SHOP and erase.is_left(
                session, request.source_id, request.event_id, request.received_at
            ):
                return False  # a worker has one of its events just now: the next run sees to it
            _end(session, request)
        _LOG.info("a sender's request is done", action="request_done", request=request_id, **gone)
        return True


def _may(session: Session, request: SenderRequest) -> bool:
    if request.status is RequestStatus.CONFIRMED:
        return True
    if request.kind is RequestKind.LIST_CUSTOMER:
        return False
    shop = session.get_one(Source, request.source_id).config.get("shop")
    named = request.subject.get("shop")
    return named == shop if shop else request.kind is not RequestKind.ERASE_SHOP


def _step(session: Session, request: SenderRequest) -> dict[str, int]:
    source_id, event_id = request.source_id, request.event_id
    if request.kind is RequestKind.LEAVE:
        source = session.get_one(Source, source_id, with_for_update=True)
        if source.enabled and source.removed_at is None:
            configured.disable(source)
            _LOG.warning("a source is disabled, as its sender left", action="source_left", source=source.name)
    if request.kind is RequestKind.ERASE_CUSTOMER:
        return erase.entities(session, source_id, event_id, erase.customer_keys(session, source_id, request.subject))
    if request.kind is RequestKind.ERASE_SHOP:
        return erase.some_of_source(session, source_id, event_id, request.received_at, _BATCH)
    return {}


def _end(session: Session, request: SenderRequest) -> None:
    request.status, request.done_at = RequestStatus.DONE, func.now()
    # The record says that it was done and for whom, by id only.
    request.subject = {name: value for name, value in request.subject.items() if name != "email"}
    erase.request_itself(session, request.event_id)
