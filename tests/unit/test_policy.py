"""Which failure is retried, when, and when it is enough."""

from app.errors import BodyMalformed, Busy, Permanent, Transient
from app.handlers import handler_for
from app.handlers.registry import Retries
from config.settings import Settings
from tasks.retry_policy import RETRY_AFTER_AT_MOST_S, Dead, Retry, RetryPolicy

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


def test_a_remotes_retry_after_is_a_lower_bound_above_the_cap_too() -> None:
    asked = Transient("slow down", retry_after_s=60.0)
    waits = [POLICY.decide(asked, 1) for _ in range(50)]
    assert all(isinstance(wait, Retry) and 60 <= wait.wait_s <= 61 for wait in waits)
    assert len({wait.wait_s for wait in waits if isinstance(wait, Retry)}) > 1


def test_an_absurd_retry_after_is_bounded() -> None:
    for asked_s, at_most_s in ((1e9, RETRY_AFTER_AT_MOST_S + 1), (-5.0, 2.0)):
        wait = POLICY.decide(Transient(retry_after_s=asked_s), 1)
        assert isinstance(wait, Retry)
        assert 0 <= wait.wait_s <= at_most_s


def test_retry_after_gives_no_attempt_beyond_the_last() -> None:
    assert isinstance(POLICY.decide(Transient(retry_after_s=1.0), 3), Dead)


def test_a_handler_has_the_settings_policy_but_for_what_it_says_itself() -> None:
    settings = Settings(max_attempts=8, retry_base_s=1.0, retry_cap_s=600.0)
    assert RetryPolicy.of(settings, Retries()) == RetryPolicy(8, 1.0, 600.0)
    assert RetryPolicy.of(settings, Retries(max_attempts=3, base_s=0.5, cap_s=2.0)) == RetryPolicy(3, 0.5, 2.0)
    assert RetryPolicy.of(settings, handler_for("log").retries).max_attempts == 3
