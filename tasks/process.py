"""Owns consume, lock and apply: what a worker does with one pointer."""

import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog
from tenacity import (
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from app.bare import statement, work
from app.errors import Busy, ClaimLost, TiercelError, Transient, Unavailable
from app.handlers.apply import Applied, apply
from app.inbox import claim as inbox
from app.inbox import due
from app.inbox.claim import Claim, Waiting
from app.inbox.wake import wake
from app.locks import Held
from app.models import Outcome
from app.pointers import Pointer
from app.resources import Resources
from tasks.policy import Dead, RetryPolicy

_LOG = structlog.get_logger()
_SHORT_RETRIES = 3
_HOLD_S = 30
"""How long a worker holds its message while the database is away; after that the dispatcher brings it back."""
_BUSY_WAIT_S = 0.1
_NOT_SHORT = (ClaimLost, Unavailable)
Result = TypeVar("Result")


def process_pointers(resources: Resources, pairs: Sequence[Sequence[object]]) -> None:
    """Process the pairs (event id, dispatch generation) of one message.

    Raises:
        ValueError: a pair isn't one; the message is somebody else's.
    """
    process(resources, [Pointer(uuid.UUID(str(event_id)), int(str(generation))) for event_id, generation in pairs])


def process(resources: Resources, pointers: Sequence[Pointer]) -> None:
    """Lock each pointer's entity, claim and apply; whatever fails is on the row, never in the message."""
    try:
        found = _held(lambda: _waiting(resources, pointers))
    except TiercelError as error:
        _left_to_dispatcher(error)
        return
    for pointer, event in found:
        structlog.contextvars.bind_contextvars(event_id=str(pointer.event_id))
        try:
            _with_entity(resources, pointer, event)
        except TiercelError as error:
            _left_to_dispatcher(error)
        finally:
            structlog.contextvars.clear_contextvars()


def _left_to_dispatcher(error: TiercelError) -> None:
    # The row is the truth: an expired lease or an old pointer comes back through the dispatcher.
    _LOG.warning("left to the dispatcher", action="left_to_dispatcher", error=repr(error))


def _waiting(resources: Resources, pointers: Sequence[Pointer]) -> list[tuple[Pointer, Waiting]]:
    with statement(resources.engine) as session:
        return inbox.waiting(session, pointers)


def _with_entity(resources: Resources, pointer: Pointer, event: Waiting) -> None:
    held, lock = resources.locks.acquire(event.entity_key)
    if held is Held.BUSY:
        # Parked before the second try: either this try gets the lock, or its holder is told so at its release.
        with statement(resources.engine) as session:
            inbox.park(session, pointer)
        resources.locks.mark_parked(event.entity_key)
        held, lock = resources.locks.acquire(event.entity_key, wait=False)
        if held is Held.BUSY:
            return
    try:
        _claim_and_run(resources, pointer, event)
    finally:
        if resources.locks.release(lock):
            _dispatch_parked(resources, event)


def _claim_and_run(resources: Resources, pointer: Pointer, event: Waiting) -> None:
    # Committed before any work: an event that kills its process can't try for ever.
    with statement(resources.engine) as session:
        claimed = inbox.claim(session, pointer, event, resources.settings.lease_s)
    if claimed is not None:
        _run(resources, claimed)
    if claimed is None or claimed.event_id != pointer.event_id:
        with work(resources.engine) as session:
            inbox.pointer_spent(session, pointer)


def _run(resources: Resources, claimed: Claim) -> None:
    if claimed.attempts > resources.settings.max_attempts:
        _end(resources, claimed, Outcome.DEAD, "its worker died at every attempt")
        return
    try:
        _held(lambda: _apply_with_retries(resources, claimed))
    except ClaimLost:
        _LOG.info("another worker has this event now", action="claim_lost")
    except Busy as error:
        with work(resources.engine) as session:
            inbox.give_back(session, claimed, wait_s=_BUSY_WAIT_S, refund=True, error=str(error))
            wake(session)
    except Exception as error:  # noqa: BLE001  # the one place where any failure of a handler becomes retry or dead
        _failed(resources, claimed, error)


def _apply_with_retries(resources: Resources, claimed: Claim) -> None:
    retrying = Retrying(
        # A lost claim stays lost, and for a database that is away _held waits.
        retry=retry_if_exception(lambda error: isinstance(error, Transient) and not isinstance(error, _NOT_SHORT)),
        stop=stop_after_attempt(_SHORT_RETRIES),
        wait=wait_random_exponential(multiplier=0.02, max=0.2),
        reraise=True,
    )
    retrying(lambda: _apply_once(resources, claimed))


def _apply_once(resources: Resources, claimed: Claim) -> Applied:
    with work(resources.engine) as session:
        event = inbox.fence(session, claimed)
        applied = apply(session, event)
        inbox.finish_with_older(session, claimed, event, applied.outcome, applied.notes)
        return applied


def _failed(resources: Resources, claimed: Claim, error: Exception) -> None:
    settings = resources.settings
    policy = RetryPolicy(settings.max_attempts, settings.retry_base_s, settings.retry_cap_s)
    decision = policy.decide(error, claimed.attempts)
    if isinstance(decision, Dead):
        _LOG.error("event is dead", action="event_dead", reason=decision.reason)
        _end(resources, claimed, Outcome.DEAD, decision.reason)
        return
    note = {
        "step": "retry",
        "attempt": claimed.attempts,
        "wait_s": round(decision.wait_s, 3),
        "error": str(error)[:500],
    }
    _LOG.warning("event will be retried", action="event_retry", **note)
    with work(resources.engine) as session:
        inbox.give_back(session, claimed, wait_s=decision.wait_s, error=str(error)[:1000], notes=[note])
        wake(session)


def _end(resources: Resources, claimed: Claim, outcome: Outcome, error: str) -> None:
    with statement(resources.engine) as session:
        inbox.finish(session, claimed, outcome, error=error)


def _dispatch_parked(resources: Resources, event: Waiting) -> None:
    with statement(resources.engine) as session:
        parked = inbox.unpark(session, event)
    unpublished = resources.publisher.publish(parked) if parked else []
    if unpublished:
        with work(resources.engine) as session:
            due.unpublished(session, [dispatch.pointer.event_id for dispatch in unpublished])


def _held(step: Callable[[], Result]) -> Result:
    """Run a step, holding the message while the database is away."""
    retrying = Retrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_delay(_HOLD_S),
        wait=wait_random_exponential(multiplier=0.1, max=1),
        reraise=True,
    )
    return retrying(step)
