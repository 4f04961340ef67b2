"""The table error -> HTTP status: which problem (RFC 9457) each of our errors is."""

import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from app.errors import (
    BodyTooLarge,
    ContentTypeUnsupported,
    Permanent,
    Rejected,
    SignatureInvalid,
    SourceDisabled,
    SourceLeft,
    SourceNotReady,
    SourceUnknown,
    TiercelError,
    Transient,
)
from app.inbox.conflicts import ConflictUnknown, ConflictUnresolvable
from app.inbox.read import EntityUnknown, EventUnknown
from app.inbox.release import NotHeld
from app.inbox.replay import NotReplayable
from app.inbox.replays import ReplayDiffers, ReplayUnknown
from app.inbox.reprioritise import NotWaiting
from app.priority.stored.versions import NoCandidate, PolicyChanged, PolicyUnknown, VersionMissing
from app.privacy.sender_requests import RequestUnknown
from app.security.api_keys import KeyInvalid, KeyUnknown, ScopeMissing
from app.security.idempotency import IdempotencyKeyInUse, IdempotencyKeyReused
from app.web.api.sources import SourceChanged
from app.web.problem import problem
from app.web.server.http_errors import (
    ExpectationUnsupported,
    HeadersTooLarge,
    RequestLineTooLong,
    TransferCodingUnsupported,
)
from app.web.webhooks.limits.refusals import RateLimited

_LOG = structlog.get_logger()

# The first class that fits decides.
STATUSES: dict[type[TiercelError], int] = {
    SourceUnknown: 404,
    SourceLeft: 410,
    BodyTooLarge: 413,
    ContentTypeUnsupported: 415,
    RequestLineTooLong: 414,
    ExpectationUnsupported: 417,
    HeadersTooLarge: 431,
    TransferCodingUnsupported: 501,
    SignatureInvalid: 401,
    KeyInvalid: 401,
    ScopeMissing: 403,
    KeyUnknown: 404,
    IdempotencyKeyInUse: 409,
    IdempotencyKeyReused: 422,
    SourceChanged: 412,
    EventUnknown: 404,
    EntityUnknown: 404,
    NotReplayable: 409,
    NotWaiting: 409,
    RateLimited: 429,
    PolicyUnknown: 404,
    NoCandidate: 404,
    PolicyChanged: 412,
    VersionMissing: 428,
    ReplayUnknown: 404,
    RequestUnknown: 404,
    ReplayDiffers: 409,
    NotHeld: 409,
    ConflictUnknown: 404,
    ConflictUnresolvable: 409,
    Rejected: 400,
    Transient: 503,
    Permanent: 500,
}


def status_of(error: TiercelError) -> int:
    """Return the HTTP status for one of our errors."""
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 500)


def _refusal(error: RateLimited) -> Response:
    answer = problem(429 if error.retries_429 else 503, type(error).__name__, str(error))
    policies = (f'"{quota.name}";q={quota.requests};w={quota.window_s}' for quota in error.quotas)
    answer.headers["RateLimit-Policy"] = ", ".join(policies)
    answer.headers["RateLimit"] = f'"{error.violated}";r=0;t={error.retry_after_s}'
    answer.headers["Retry-After"] = str(error.retry_after_s)
    return answer


def handle_errors(flask_app: Flask) -> None:
    """Make every error of this application a problem+json answer that tells a stranger nothing of its inside."""

    @flask_app.errorhandler(TiercelError)
    def _ours(error: TiercelError) -> Response:
        status = status_of(error)
        if isinstance(error, RateLimited):
            return _refusal(error)
        if isinstance(error, (SourceDisabled, SourceNotReady)):
            return problem(status, type(error).__name__, str(error))  # an operator's decision, and no fault
        if isinstance(error, Transient):
            _LOG.warning("a request can't be served now", action="unavailable", error=repr(error))
            return problem(status, type(error).__name__, "Try again later.")
        if isinstance(error, Permanent):
            _LOG.error("a request failed", action="request_failed", error=repr(error))
            return problem(status, "InternalError", "This is our fault and has been logged.")
        return problem(status, type(error).__name__, str(error))

    @flask_app.errorhandler(HTTPException)
    def _flasks(error: HTTPException) -> Response:
        answer = problem(error.code or 500, error.name.title().replace(" ", ""), error.description or error.name)
        for name, value in error.get_headers():
            if name.lower() in {"allow", "retry-after"}:
                answer.headers[name] = value
        return answer

    @flask_app.errorhandler(Exception)
    def _unexpected(error: Exception) -> Response:
        _LOG.error("a request failed", action="request_failed", exc_info=error)
        return problem(500, "InternalError", "This is our fault and has been logged.")
