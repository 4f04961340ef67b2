"""Owns consume, lock and claim: what a worker does with the pointers of one message."""

import uuid
from collections.abc import Sequence

import structlog

from app import tracing
from app.bare import statement, work
from app.errors import TiercelError
from app.inbox import claim as inbox
from app.inbox import due
from app.inbox.claim import Claim, Waiting
from app.locks import Held
from app.pointers import Pointer
from app.resources import Resources
from tasks.attempt import attempt, attempt_batch, held

_LOG = structlog.get_logger()
_Found = tuple[Pointer, Waiting]


def process_pointers(resources: Resources, pairs: Sequence[Sequence[object]]) -> None:
    """Process the pairs (event id, dispatch generation) of one message.

    Raises:
        ValueError: a pair isn't one; the message is somebody else's.
    """
    process(resources, [Pointer(uuid.UUID(str(event_id)), int(str(generation))) for event_id, generation in pairs])


def process(resources: Resources, pointers: Sequence[Pointer]) -> None:
    """Lock the pointers' entities, claim and apply; whatever fails is on the row, never in the message.

    What nobody claimed before goes together; the rest, and what is busy, one by one.
    """
    try:
        found = held(lambda: _waiting(resources, pointers))
        fresh = [one for one in found if one[1].fresh]
        done = _batch(resources, fresh) if len(fresh) > 1 else set()
    except TiercelError as error:
        _left_to_dispatcher(error)
        return
    for pointer, event in found:
        if event.fresh and event.entity_key in done:
            continue
        structlog.contextvars.bind_contextvars(event_id=str(event.first))
        try:
            _with_entity(resources, pointer, event)
        except TiercelError as error:
            _left_to_dispatcher(error)
        finally:
            structlog.contextvars.clear_contextvars()


def _left_to_dispatcher(error: TiercelError) -> None:
    # The row is the truth: an expired lease or an old pointer comes back through the dispatcher.
    _LOG.warning("left to the dispatcher", action="left_to_dispatcher", error=repr(error))


def _waiting(resources: Resources, pointers: Sequence[Pointer]) -> list[_Found]:
    with statement(resources.engine) as session:
        return inbox.waiting(session, pointers)


def _batch(resources: Resources, fresh: Sequence[_Found]) -> set[str]:
    """Process pointers together, but for those of busy entities; return the entities that are done."""
    with tracing.work(batch=True):
        return _together(resources, fresh)


def _together(resources: Resources, fresh: Sequence[_Found]) -> set[str]:
    with tracing.step("lock"):
        locks = resources.locks.acquire_all({event.entity_key for _, event in fresh})
    mine = [one for one in fresh if one[1].entity_key in locks.taken]
    try:
        if mine:
            firsts = tuple(dict.fromkeys(event.first for _, event in mine))
            attempt_batch(resources, Claim(firsts, uuid.uuid4(), counted=False))
            _spent(resources, [pointer for pointer, event in mine if pointer.event_id != event.first])
    finally:
        parked = resources.locks.release_all(locks)
        for event in {event.entity_key: event for _, event in mine}.values():
            if event.entity_key in parked:
                _dispatch_parked(resources, event)
    return locks.taken


def _with_entity(resources: Resources, pointer: Pointer, event: Waiting) -> None:
    with tracing.work():
        _alone(resources, pointer, event)


def _alone(resources: Resources, pointer: Pointer, event: Waiting) -> None:
    with tracing.step("lock"):
        state, lock = resources.locks.acquire(event.entity_key)
    if state is Held.BUSY:
        # Parked before the second try: either this try gets the lock, or its holder is told so at its release.
        with statement(resources.engine) as session:
            inbox.park(session, pointer)
        resources.locks.mark_parked(event.entity_key)
        state, lock = resources.locks.acquire(event.entity_key, wait=False)
        if state is Held.BUSY:
            return
    try:
        claimed = attempt(resources, Claim((event.first,), uuid.uuid4(), counted=True))
        if not claimed or pointer.event_id != event.first:
            _spent(resources, [pointer])
    finally:
        if resources.locks.release(lock):
            _dispatch_parked(resources, event)


def _spent(resources: Resources, pointers: Sequence[Pointer]) -> None:
    """Let what a pointer named be dispatched again, since another event was claimed for it."""
    if pointers:
        with work(resources.engine) as session:
            inbox.pointers_spent(session, pointers)


def _dispatch_parked(resources: Resources, event: Waiting) -> None:
    with statement(resources.engine) as session:
        parked = inbox.unpark(session, event)
    unpublished = resources.publisher.publish(parked) if parked else []
    if unpublished:
        with work(resources.engine) as session:
            due.unpublished(session, [dispatch.pointer.event_id for dispatch in unpublished])
