"""Which living process counts as one that doesn't work, and when what ended is given up."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.coordination.heartbeat_file import HeartbeatFile
from app.coordination.liveness import BLIND_S, HELD_S, SILENT_S, TAKES_NOTHING_S, LivenessCheck
from deploy.local.errors import CannotStart
from deploy.local.supervise import QUICK_S, TRIES, Restarts

WORKER = HeartbeatFile("events.high", pid=7)


def looks(judge: LivenessCheck, seen: Sequence[tuple[float, HeartbeatFile, int | None]]) -> list[str | None]:
    return [judge.worker(pulse, waiting, now) for now, pulse, waiting in seen]


def at(now: float, **changes: object) -> HeartbeatFile:
    return replace(WORKER, at=now, **changes)  # type: ignore[arg-type]  # a field each


def test_a_worker_that_takes_nothing_from_a_queue_that_is_not_empty_does_not_work() -> None:
    late = TAKES_NOTHING_S + 1
    said = looks(LivenessCheck(), [(0, at(0, taken=3), 5), (4, at(4, taken=3), 5), (late, at(late, taken=3), 5)])
    assert said[:2] == [None, None]
    assert said[2] is not None
    assert "5 messages wait" in said[2]


@pytest.mark.parametrize(
    "seen",
    [
        [(now, at(now, taken=now), 5) for now in range(20)],  # it takes one after the other
        [(now, at(now, taken=3), now % 4) for now in range(20)],  # the queue was empty in between
        [(now, at(now, taken=3, busy=1), 5) for now in range(20)],  # it works on a long one
        [(now, at(now, taken=3), None) for now in range(60)],  # the broker is away
    ],
)
def test_a_worker_that_has_a_reason_is_left_alone(seen: list[tuple[float, HeartbeatFile, int | None]]) -> None:
    assert set(looks(LivenessCheck(), seen)) == {None}


def test_a_frozen_worker_is_found_by_its_silence_also_in_the_middle_of_a_task() -> None:
    frozen = at(0.0, taken=3, busy=1)
    assert looks(LivenessCheck(), [(now, frozen, 5) for now in range(0, 21, 5)])[-1] is not None
    silent = looks(LivenessCheck(), [(now, frozen, 0) for now in range(0, int(SILENT_S) + 3, 2)])
    assert set(silent[:-1]) == {None}
    assert silent[-1] is not None
    assert "no sign of life" in silent[-1]


def test_who_did_not_look_for_long_begins_anew() -> None:
    late, frozen = BLIND_S + 1, at(0.0, taken=3)
    judge = LivenessCheck()
    assert looks(judge, [(0, frozen, 5), (late, frozen, 5), (late + 4, frozen, 5)]) == [None] * 3
    assert judge.worker(frozen, 5, late + 4 + TAKES_NOTHING_S) is not None
    silent = HeartbeatFile("dispatcher", at=0.0)
    assert judge.check_loop(silent, reachable=True, now=2 * SILENT_S) is None


def test_a_message_that_is_held_for_too_long_is_a_child_that_hangs() -> None:
    assert looks(LivenessCheck(), [(0, at(0, oldest_s=HELD_S - 1), 0)]) == [None]
    (said,) = looks(LivenessCheck(), [(0, at(0, oldest_s=HELD_S + 1), 0)])
    assert said is not None


def test_after_the_broker_was_away_all_begins_anew() -> None:
    frozen = at(0.0)
    said = looks(LivenessCheck(), [(0, frozen, 5), (100, frozen, None), (101, frozen, 5), (104, frozen, 5)])
    assert said == [None] * 4


def test_a_dispatcher_is_judged_only_while_the_database_answers() -> None:
    silent = HeartbeatFile("dispatcher", at=0.0)
    judge = LivenessCheck()
    said = [judge.check_loop(silent, reachable=True, now=now) for now in range(int(SILENT_S) + 2)]
    assert said[:-1] == [None] * (len(said) - 1)
    assert said[-1] is not None
    assert judge.check_loop(silent, reachable=False, now=SILENT_S + 2) is None
    assert judge.check_loop(silent, reachable=True, now=SILENT_S + 3) is None


def test_what_ended_is_started_at_once_and_later_each_time_it_ends_soon() -> None:
    now = [0.0]
    restarts = Restarts(clock=lambda: now[0])
    restarts.started("beat")
    now[0] = QUICK_S + 1
    assert restarts.is_due("beat", "signal 9")
    waits = []
    for _ in range(TRIES - 1):
        restarts.started("beat")
        began = now[0] = now[0] + 0.1
        while not restarts.is_due("beat", "signal 9"):
            now[0] += 0.5
        waits.append(round(now[0] - began, 3))
    assert waits == [1.0, 2.0, 4.0, 4.0]
    restarts.started("beat")
    with pytest.raises(CannotStart, match="again and again"):
        restarts.is_due("beat", "status 1")


def test_one_that_ran_for_a_while_has_all_its_tries_again() -> None:
    now = [0.0]
    restarts = Restarts(clock=lambda: now[0])
    for _ in range(3 * TRIES):
        restarts.started("beat")
        now[0] += QUICK_S + 1
        assert restarts.is_due("beat", "signal 9")
