"""Owns one attempt at claimed events: apply them, and turn whatever fails into a retry or a dead event."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from tenacity import (
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from app.db.pipeline import autocommit, pipelined_transaction
from app.errors import Busy, ClaimLost, TiercelError, Transient, Unavailable
from app.handlers import HANDLERS, handler_for
from app.handlers.apply import Applied, Fenced, apply
from app.inbox import claim as inbox
from app.inbox import finish
from app.inbox.claim import Claim
from app.inbox.finish import Ended
from app.inbox.wake import wake
from app.models import Outcome
from app.observability import tracing
from app.observability.process_metrics import ATTEMPTS, named
from app.resources import Resources
from tasks.error_fingerprint import trace_of
from tasks.retry_policy import Dead, RetryPolicy

if TYPE_CHECKING:
    from app.observability.tracing.scopes import Work

_LOG = structlog.get_logger()
_SHORT_RETRIES = 3
_HOLD_S = 30
"""How long a worker holds its message while the database is away; after that the dispatcher brings it back."""
_BUSY_WAIT_S = 0.1
_TRANSACTION_S, _MESSAGE_S = 0.5, 4.0
"""How long a batch's handlers may take in one transaction, and its transactions in all: well within the 5 s that a
transaction may be idle, and within the lease."""
_NOT_SHORT = (ClaimLost, Unavailable)
Result = TypeVar("Result")


class _Exhausted(TiercelError):
    """An event has used its attempts without an end."""


def attempt(resources: Resources, claimed: Claim) -> bool:
    """Claim one event and apply it; a failure becomes a retry or a dead event. Tell whether it could be claimed.

    Raises:
        Unavailable: the database is away for too long; the lease brings the event back.
    """
    (event_id,) = claimed.event_ids
    try:
        held(lambda: _apply_with_retries(resources, claimed))
    except ClaimLost:
        return False
    except Busy as error:
        ATTEMPTS.add("busy")
        tracing.ended((event_id,), "busy", error="Busy")
        with pipelined_transaction(resources.engine) as session:
            finish.give_back(session, event_id, claimed.token, wait_s=_BUSY_WAIT_S, refund=True, error=str(error))
            wake(session)
    except _Exhausted as error:
        ATTEMPTS.add("dead")
        tracing.ended((event_id,), "dead", error=type(error).__name__)
        _LOG.error("event is dead", action="event_dead", reason=str(error))
        _end(resources, claimed, Outcome.DEAD, str(error))
    except Exception as error:  # noqa: BLE001  # the one place where any failure of a handler becomes retry or dead
        _failed(resources, claimed, error)
    return True


def attempt_batch(resources: Resources, claimed: Claim) -> None:
    """Claim events and apply them in one transaction; where that fails each of them is tried alone.

    Where their handlers are slow it takes several short ones, and gives back what it doesn't come to: a transaction
    may not be idle for long, a lease ends, and who waits for these entities can't wait for them all.

    Raises:
        Unavailable: the database is away for too long; the leases bring the events back.
        SoftTimeLimitExceeded: it takes too long; the leases bring each event back, alone.
    """
    began = time.monotonic()
    try:
        left = claimed.event_ids
        while left and (left == claimed.event_ids or time.monotonic() - began < _MESSAGE_S):
            todo = replace(claimed, event_ids=left)
            left = held(partial(_apply_with_retries, resources, todo, within_s=_TRANSACTION_S))
    except (Unavailable, SoftTimeLimitExceeded):
        raise
    except ClaimLost:
        return
    except Exception as error:  # noqa: BLE001  # whichever of them it was: it fails again, alone
        count = len(claimed.event_ids)
        _LOG.info("a batch is tried one by one", action="batch_split", count=count, error=repr(error))
        for event_id in claimed.event_ids:
            with autocommit(resources.engine) as session:
                alone = inbox.count_attempt(session, event_id, claimed.token)
            if alone is not None:
                with structlog.contextvars.bound_contextvars(event_id=str(event_id)), tracing.work():
                    attempt(resources, alone)
        return
    if left:
        with pipelined_transaction(resources.engine) as session:
            finish.give_back_untried(session, replace(claimed, event_ids=left))
            wake(session)


def held(step: Callable[[], Result]) -> Result:
    """Run a step, holding the message while the database is away.

    Raises:
        Unavailable: it is away for more than 30 s.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_delay(_HOLD_S),
        wait=wait_random_exponential(multiplier=0.1, max=1),
        reraise=True,
    )
    return retrying(step)


def _apply_with_retries(resources: Resources, claimed: Claim, within_s: float | None = None) -> tuple[uuid.UUID, ...]:
    retrying = Retrying(
        retry=retry_if_exception(_is_short),
        stop=stop_after_attempt(_SHORT_RETRIES),
        wait=wait_random_exponential(multiplier=0.02, max=0.2),
        reraise=True,
    )
    return retrying(lambda: _apply_once(resources, claimed, within_s))


def _is_short(error: BaseException) -> bool:
    # A lost claim stays lost, for a database that is away held() waits, and who says when wants nobody before.
    return isinstance(error, Transient) and not isinstance(error, _NOT_SHORT) and error.retry_after_s is None


def _policy(resources: Resources, entity_type: str) -> RetryPolicy:
    return RetryPolicy.of(resources.settings, handler_for(entity_type).retries)


def _apply_once(resources: Resources, claimed: Claim, within_s: float | None) -> tuple[uuid.UUID, ...]:
    """Apply claimed events in one transaction; return those that it didn't come to in time."""
    with pipelined_transaction(resources.engine) as session:
        with tracing.step("claim"):
            inbox.claim(session, claimed, resources.settings.lease_s)
            fenced = finish.fence(session, claimed)
        traced = _meet(fenced)
        if any(one.attempts > _policy(resources, one.event.entity_type).max_attempts for one in fenced):
            raise _Exhausted("its worker died at every attempt")
        timely = [one for one in fenced if one.event.expired is None]
        with tracing.step("apply"):
            applied = list(zip((one.event for one in timely), apply(session, timely, within_s), strict=True))
        ended = [Ended(event, became) for event, became in applied if became is not None]
        ended += [Ended(one.event, _expired(one.event.expired)) for one in fenced if one.event.expired is not None]
        with tracing.step("finish"):
            finish.finish_with_older(session, claimed.token, ended)
    ATTEMPTS.add("ended", count=len(ended))
    if traced is not None:
        for one in ended:
            traced.ended((one.event.id,), one.applied.outcome.name.lower())
    return tuple(event.id for event, became in applied if became is None)


def _meet(fenced: Sequence[Fenced]) -> "Work | None":
    """Tell the trace which of the events are sampled; return it where any is."""
    work = tracing.working()
    if work is None:
        return None
    sampled = [(one.event, one.traced) for one in fenced if one.traced is not None]
    for event, row in sampled:
        kind = named(event.entity_type, HANDLERS)
        work.met(event.id, {**row, "type": kind, "operation": event.operation.name.lower()})
    return work if sampled else None


def _expired(why: str) -> Applied:
    return Applied(Outcome.EXPIRED, ({"step": "expired", "why": why},))


def _failed(resources: Resources, claimed: Claim, error: Exception) -> None:
    (event_id,) = claimed.event_ids
    with autocommit(resources.engine) as session:
        attempts, entity_type = finish.tried(session, event_id)
    decision = _policy(resources, entity_type).decide(error, attempts)
    result = "dead" if isinstance(decision, Dead) else "retry"
    ATTEMPTS.add(result)
    tracing.ended((event_id,), result, error=type(error).__name__)
    if isinstance(decision, Dead):
        trace = trace_of(error)
        _LOG.error("event is dead", action="event_dead", reason=decision.reason, trace=trace.fingerprint)
        last = {"step": "dead", "trace": trace.fingerprint, "where": trace.where}
        _end(resources, claimed, Outcome.DEAD, decision.reason, [last])
        return
    note = {
        "step": "retry",
        "attempt": attempts,
        "wait_s": round(decision.wait_s, 3),
        "error": str(error)[:500],
    }
    _LOG.warning("event will be retried", action="event_retry", **note)
    with pipelined_transaction(resources.engine) as session:
        finish.give_back(
            session, event_id, claimed.token, wait_s=decision.wait_s, error=str(error)[:1000], notes=[note]
        )
        wake(session)


def _end(
    resources: Resources, claimed: Claim, outcome: Outcome, error: str, notes: Sequence[dict[str, Any]] = ()
) -> None:
    (event_id,) = claimed.event_ids
    with autocommit(resources.engine) as session:
        finish.finish(session, event_id, claimed.token, outcome, error=error, notes=notes)
