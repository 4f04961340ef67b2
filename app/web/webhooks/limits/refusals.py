"""Owns the refusals for the rate: errors with what their answer's headers need.

Names, headers and members are those of draft-ietf-httpapi-ratelimit-headers-11. All are 429: also the one for reduced
capacity, which the draft would have as 503, since a budget decides here, too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import Rejected
from app.web.webhooks.limits.token_bucket import Bucket, Grant


@dataclass(frozen=True, slots=True)
class Quota:
    """A policy as RateLimit-Policy shows it: so many requests in so many seconds."""

    name: str
    requests: int
    window_s: int


class RateLimited(Rejected):
    """More requests than may be made now."""

    def __init__(self, grant: Grant, asked: Sequence[Bucket], *, retries_429: bool = True) -> None:
        super().__init__()
        assert grant.by is not None  # noqa: S101  # it is a refusal
        self.violated = grant.by.name
        self.retry_after_s = max(1, math.ceil(grant.wait_s))
        self.quotas = tuple(_quota(bucket) for bucket in asked)
        self.retries_429 = retries_429


class QuotaExceeded(RateLimited):
    """The source has spent its budget of events."""


class TemporaryReducedCapacity(RateLimited):
    """The budget for events of this urgency is reduced while there is too much to do."""


class AbnormalUsageDetected(RateLimited):
    """Too many requests from this address could not be verified."""


def _quota(bucket: Bucket) -> Quota:
    requests = max(1, math.floor(bucket.burst - bucket.reserve))
    return Quota(bucket.name, requests, max(1, math.ceil(requests / bucket.per_s)))
