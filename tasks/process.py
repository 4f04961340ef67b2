"""Owns consume, lock and claim: what a worker does with the pointers of one message."""

import time
import uuid
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import structlog

from app.coordination.entity_locks import LockResult
from app.db.pipeline import autocommit, pipelined_transaction
from app.errors import TiercelError
from app.inbox import claim as inbox
from app.inbox import due
from app.inbox.claim import NO_EXTRA_WORK, Claim, ExtraWork, Waiting
from app.messaging.messages import PER_MESSAGE
from app.messaging.pointer import Pointer
from app.models import Lane
from app.observability import tracing
from app.resources import Resources
from tasks.attempt import attempt, attempt_batch, held
from tasks.batch_size import Pace

_LOG = structlog.get_logger()
_Found = tuple[Pointer, Waiting]


def process_pointers(resources: Resources, pairs: Sequence[Sequence[object]], lane: Lane | None, pace: Pace) -> None:
    """Process the pairs (event id, dispatch generation) of one message, and take along what waits in a lane.

    Raises:
        ValueError: a pair isn't one; the message is somebody else's.
    """
    pointers = [Pointer(uuid.UUID(str(event_id)), int(str(generation))) for event_id, generation in pairs]
    room = 0 if lane is None else max(0, pace.room(PER_MESSAGE[lane]) - len(pointers))
    began = time.monotonic()
    count = process(resources, pointers, NO_EXTRA_WORK if lane is None else ExtraWork(lane, room))
    pace.took(time.monotonic() - began, count)


def process(resources: Resources, pointers: Sequence[Pointer], more: ExtraWork = NO_EXTRA_WORK) -> int:
    """Lock the pointers' entities, claim and apply; whatever fails is on the row, never in the message.

    What nobody claimed before goes together, with what waits behind it where the lane is behind; the rest, and what is
    busy, one by one. Return how many events were done.
    """
    try:
        found = held(lambda: _waiting(resources, pointers, more))
        fresh = [one for one in found if one[1].fresh]
        named, count = set(pointers), 0
        own = [one for one in found if one[0] in named]
        if len(fresh) > 1:
            done = _batch(resources, fresh, named)
            count = sum(event.entity_key in done for _, event in fresh)
            left = [pointer for pointer, event in own if not (event.fresh and event.entity_key in done)]
            # Whoever is busy with them may have ended them meanwhile.
            own = held(lambda: _waiting(resources, left, NO_EXTRA_WORK)) if left else []
    except TiercelError as error:
        _left_to_dispatcher(error)
        return 0
    for pointer, event in own:
        structlog.contextvars.bind_contextvars(event_id=str(event.first))
        try:
            _with_entity(resources, pointer, event)
        except TiercelError as error:
            _left_to_dispatcher(error)
        finally:
            structlog.contextvars.clear_contextvars()
    return count + len(own)


def _left_to_dispatcher(error: TiercelError) -> None:
    # The row is the truth: an expired lease or an old pointer comes back through the dispatcher.
    _LOG.warning("left to the dispatcher", action="left_to_dispatcher", error=repr(error))


def _waiting(resources: Resources, pointers: Sequence[Pointer], more: ExtraWork) -> list[_Found]:
    with autocommit(resources.engine) as session:
        return inbox.waiting(session, pointers, more)


def _batch(resources: Resources, fresh: Sequence[_Found], own: AbstractSet[Pointer]) -> set[str]:
    """Process events together, but for those of busy entities; return the entities that are done."""
    with tracing.work(batch=True):
        return _together(resources, fresh, own)


def _together(resources: Resources, fresh: Sequence[_Found], own: AbstractSet[Pointer]) -> set[str]:
    with tracing.step("lock"):
        locks = resources.locks.acquire_all({event.entity_key for _, event in fresh})
    mine = [one for one in fresh if one[1].entity_key in locks.taken]
    try:
        if mine:
            firsts = tuple(dict.fromkeys(event.first for _, event in mine))
            attempt_batch(resources, Claim(firsts, uuid.uuid4(), counted=False))
            # The others' messages are still to come.
            spent = [pointer for pointer, event in mine if pointer.event_id != event.first and pointer in own]
            _spent(resources, spent)
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
    if state is LockResult.BUSY:
        # Parked before the second try: either this try gets the lock, or its holder is told so at its release.
        with autocommit(resources.engine) as session:
            inbox.park(session, pointer)
        resources.locks.mark_parked(event.entity_key)
        state, lock = resources.locks.acquire(event.entity_key, wait=False)
        if state is LockResult.BUSY:
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
        with pipelined_transaction(resources.engine) as session:
            inbox.pointers_spent(session, pointers)


def _dispatch_parked(resources: Resources, event: Waiting) -> None:
    with autocommit(resources.engine) as session:
        parked = inbox.unpark(session, event)
    unpublished = resources.publisher.publish(parked) if parked else []
    if unpublished:
        with pipelined_transaction(resources.engine) as session:
            due.unpublished(session, [dispatch.pointer.event_id for dispatch in unpublished])
