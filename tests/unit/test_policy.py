"""Which failure is retried, when, and when it is enough."""

from app.errors import BodyMalformed, Busy, Permanent
from tasks.policy import Dead, Retry, RetryPolicy

POLICY = RetryPolicy(max_attempts=3, base_s=1.0, cap_s=5.0)


def test_a_permanent_failure_is_dead_at_once() -> None:
    assert POLICY.decide(Permanent("no such column"), 1) == Dead("Permanent: no such column")
    assert isinstance(POLICY.decide(BodyMalformed(), 1), Dead)


def test_the_last_attempt_is_dead_with_its_reason() -> None:
    assert POLICY.decide(Busy("locked"), 3) == Dead("attempt 3 of 3 failed: Busy: locked")


def test_other_failures_are_retried_after_a_random_wait_below_its_bound() -> None:
    waits = [POLICY.decide(ValueError("odd"), 2) for _ in range(50)]
    assert all(isinstance(wait, Retry) and 0 <= wait.wait_s <= 2 for wait in waits)
    assert len({wait.wait_s for wait in waits if isinstance(wait, Retry)}) > 1


def test_the_wait_is_capped() -> None:
    patient = RetryPolicy(max_attempts=100, base_s=1.0, cap_s=5.0)
    waits = [patient.decide(ValueError(), 60) for _ in range(50)]
    assert all(isinstance(wait, Retry) and wait.wait_s <= 5 for wait in waits)
