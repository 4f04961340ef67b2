"""Owns the table (error, attempt) -> Retry or Dead. Pure: it decides, it does not act."""

from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, wait_random_exponential

from app.errors import Permanent, Rejected


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

    def decide(self, error: BaseException, attempt: int) -> Retry | Dead:
        """Return what to do after the given attempt (1 is the first) failed.

        The wait is random between 0 and min(cap, base * 2^(attempt - 1)), so that events that failed together don't
        come back together (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/, "full jitter").
        """
        reason = f"{type(error).__name__}: {error}"[:1000]
        if isinstance(error, (Permanent, Rejected)):
            return Dead(reason)
        if attempt >= self.max_attempts:
            return Dead(f"attempt {attempt} of {self.max_attempts} failed: {reason}")
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = attempt
        return Retry(float(wait_random_exponential(multiplier=self.base_s, max=self.cap_s)(state)))
