"""Owns the table (error, attempt) -> Retry or Dead. Pure: it decides, it does not act."""

from dataclasses import dataclass
from random import SystemRandom
from typing import Self

from tenacity import RetryCallState, Retrying, wait_random_exponential

from app.errors import Permanent, Rejected, Transient
from app.handlers.registry import Retries
from config.settings import Settings

RETRY_AFTER_AT_MOST_S = 86_400.0
"""A remote that asks for more than a day is asked again after a day."""
_DICE = SystemRandom()


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class Dead:
    """Never again by itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how far apart."""

    max_attempts: int
    base_s: float
    cap_s: float

    @classmethod
    def of(cls, settings: Settings, retries: Retries) -> Self:
        """Return a handler's policy: the settings', where it has none of its own."""
        return cls(
            max_attempts=settings.max_attempts if retries.max_attempts is None else retries.max_attempts,
            base_s=settings.retry_base_s if retries.base_s is None else retries.base_s,
            cap_s=settings.retry_cap_s if retries.cap_s is None else retries.cap_s,
        )

    def decide(self, error: BaseException, attempt: int) -> Retry | Dead:
        """Return what to do after the given attempt (1 is the first) failed.

        The wait is random between 0 and min(cap, base * 2^(attempt - 1)), so that events that failed together don't
        come back together (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/, "full jitter").
        A remote's Retry-After is a lower bound, also above the cap: to ask sooner would only be refused again.
        """
        reason = f"{type(error).__name__}: {error}"[:1000]
        if isinstance(error, (Permanent, Rejected)):
            return Dead(reason)
        if attempt >= self.max_attempts:
            return Dead(f"attempt {attempt} of {self.max_attempts} failed: {reason}")
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = attempt
        wait_s = float(wait_random_exponential(multiplier=self.base_s, max=self.cap_s)(state))
        if isinstance(error, Transient) and error.retry_after_s is not None:
            asked_s = min(max(error.retry_after_s, 0.0), RETRY_AFTER_AT_MOST_S)
            # Spread above it, or all that the remote put off would come back at the same moment.
            wait_s = max(wait_s, asked_s + _DICE.uniform(0, self.base_s))
        return Retry(wait_s)
