"""The simulated day: its machine, its schedulers, its bound, and what is told of it."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.dom import minidom

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.models import Lane
from app.priority import shipped
from bench.simulate import trace
from bench.simulate.__main__ import SCHEDULERS, main, simulated
from bench.simulate.bound import most_work_s, upper_bound
from bench.simulate.cores import Cores, Process
from bench.simulate.jobs import decided
from bench.simulate.report import Figures, Slowdown, figures, low_pause_s, on_time, verdicts
from bench.simulate.schedulers import Fifo
from bench.simulate.service import CORES
from bench.simulate.simulate import Job, run
from bench.simulate.tiercel import Tiercel
from bench.simulate.trace import Arrival


def arrival(
    at: float, cost_s: float = 1.0, value: float = 1.0, within_s: float = 1.0, *, expires: bool = False
) -> Arrival:
    return Arrival(at, "north", "price.updated", cost_s, value, at, at + within_s, expires, flood=False, data={})


def job(number: int, came: Arrival, lane: Lane = Lane.HIGH, priority: int = 5, source: int = 1) -> Job:
    return Job(number, came, source, lane, priority)


def test_two_cores_work_on_two_events_and_the_third_waits() -> None:
    found = [job(number, arrival(0.0)) for number in range(3)]
    run(found, Fifo())
    assert [one.done_at for one in found] == [1.0, 1.0, 2.0]
    assert [one.in_time for one in found] == [True, True, False]


def test_what_helps_nobody_any_more_costs_nothing() -> None:
    found = [job(number, arrival(0.0, expires=number > 1)) for number in range(4)]
    run(found, Fifo())
    assert [one.expired for one in found] == [False, False, True, True]
    assert [one.in_time for one in found] == [True, True, False, False]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_event_of_the_day_is_worked_on_once(name: str) -> None:
    found = [event.job() for event in decided(trace.day(scale=0.01), shipped())]
    run(found, SCHEDULERS[name]())
    assert all(one.done_at >= one.arrival.counts_from for one in found)
    done = sorted(one.done_at for one in found if not one.expired)
    # Never more than the machine can do: of any two ends so many apart, the work of those between lies between
    for first, last in zip(done, done[100:], strict=False):
        assert last - first >= 98 * min(one.arrival.cost_s for one in found) / CORES - 1e-6


ARRIVALS = st.lists(
    st.builds(
        arrival,
        st.floats(0, 5),
        cost_s=st.floats(0.01, 1),
        value=st.sampled_from([0.1, 1.0, 3.0, 10.0]),
        within_s=st.floats(0.01, 4),
        expires=st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


@given(arrivals=ARRIVALS)
@settings(deadline=None)
def test_no_scheduler_is_worth_more_than_the_bound(arrivals: list[Arrival]) -> None:
    bound = upper_bound(arrivals)
    for scheduler in SCHEDULERS.values():
        found = [job(number, came) for number, came in enumerate(arrivals)]
        run(found, scheduler())
        assert sum(one.arrival.value for one in found if one.in_time) <= bound + 1e-6


def test_the_bound_prefers_what_is_worth_more() -> None:
    # Four seconds of work for one second of two cores: the two of the greater value
    day = [arrival(0.0, value=value) for value in (1.0, 5.0, 3.0, 1.0)]
    assert most_work_s(day) == pytest.approx(2.0)
    assert upper_bound(day) == pytest.approx(8.0)


def test_the_bound_may_do_a_part_for_a_part_of_the_value() -> None:
    assert upper_bound([arrival(0.0, cost_s=4.0, value=4.0)]) == pytest.approx(2.0)


def test_the_bound_knows_the_future() -> None:
    # The patient one waits for the urgent ones that come later
    day = [arrival(0.0, cost_s=2.0, within_s=2.0), arrival(1.0, cost_s=2.0, within_s=1.0)]
    assert most_work_s(day) == pytest.approx(4.0)


def shares(wanted: dict[Lane, int], rounds: int) -> dict[Lane, int]:
    """Return how often each lane's processes ran, where those wanted always have something to do."""
    cores, found, working = Cores(), dict.fromkeys(Lane, 0), list[Process]()
    for _ in range(rounds):
        ready = [one for one in cores.processes if wanted.get(one.lane)]
        while len(working) < CORES and (runs := cores.next(ready)) is not None:
            runs.begin(0.01)
            working.append(runs)
        working[0].working = False
        found[working.pop(0).lane] += 1
    return found


def test_niceness_shares_the_cores() -> None:
    found = shares({Lane.HIGH: 1, Lane.MEDIUM: 1, Lane.LOW: 1}, 4_000)
    assert found[Lane.HIGH] / 4_000 == pytest.approx(0.82, abs=0.02)
    assert found[Lane.LOW] / 4_000 == pytest.approx(0.044, abs=0.01)


def test_a_core_of_its_own_is_no_debt() -> None:
    # Given medium and low, each on a core of its own for long
    cores = Cores()
    medium, low = cores.processes[2:]
    for _ in range(1_000):
        for process in (medium, low):
            assert cores.next([one for one in (medium, low) if not one.working]) is process
            process.begin(0.01)
        medium.working = low.working = False
    # When high comes, low isn't punished for it: it is an event ahead, and the one that it works on
    assert low.had - medium.had <= 2 * 0.01 / 110


def test_high_waits_for_no_backlog_of_low() -> None:
    backlog = [job(number, arrival(0.0, cost_s=0.01), Lane.LOW, 0) for number in range(2_000)]
    urgent = job(2_000, arrival(3.0, cost_s=0.01), Lane.HIGH, 8)
    run([*backlog, urgent], Tiercel())
    assert urgent.done_at <= 3.0 + 0.02 + 1e-6


def test_what_would_soon_be_too_late_goes_first() -> None:
    backlog = [job(number, arrival(0.0, cost_s=0.1, within_s=600.0), Lane.MEDIUM, 5) for number in range(1_000)]
    late = arrival(0.5, cost_s=0.1, within_s=20.0, expires=True)
    soon = job(1_000, late, Lane.MEDIUM, 4)
    run([*backlog, soon], Tiercel())
    assert soon.in_time
    assert soon.promoted == 2


def test_a_pause_is_a_time_in_which_something_waits_and_nothing_ends() -> None:
    def low(began: float, ended: float) -> Job:
        made = job(0, arrival(began), Lane.LOW)
        made.done_at = ended
        return made

    assert low_pause_s([low(0.0, 1.0), low(10.0, 13.0), low(11.0, 12.0)]) == 2.0
    assert low_pause_s([]) == 0.0


def test_a_slowdown_that_nobody_could_notice_is_none() -> None:
    assert Slowdown("north", Lane.HIGH, 0.001, 0.09).times == 1.0
    assert Slowdown("north", Lane.HIGH, 0.01, 0.3).times == pytest.approx(3.0)


def test_a_slowdown_is_of_the_same_events_on_two_days() -> None:
    counts = trace.FLOOD_S[0] + 1

    def day(low_s: float, medium_s: float, *, flood: bool) -> list[Job]:
        found = [job(0, arrival(counts), Lane.LOW), job(1, arrival(counts), Lane.MEDIUM)]
        found[0].done_at, found[1].done_at = counts + low_s, counts + medium_s
        storm = job(2, replace(arrival(counts), source=trace.FLOODING, flood=True), Lane.LOW)
        return [*found, storm] if flood else found

    found = figures(day(1.5, 4.0, flood=True), day(1.0, 1.0, flood=False))
    assert str(found.worst) == "2.75 (north)"
    assert str(found.worst_in_flooded) == "1.50 (north, low)"
    assert str(found.worst_in_any) == "4.00 (north, medium)"


def test_nothing_is_in_time_where_nothing_was_there() -> None:
    assert on_time([]) == 1.0


def test_a_day_too_bad_is_said_to_be() -> None:
    worst = [Slowdown("north", None, 1.0, 5.0), Slowdown("north", Lane.LOW, 1.0, 5.0)]
    bad = Figures(0.5, dict.fromkeys(Lane, 1.0), 9.0, [0.0], 60.0, worst, [0.5] * 24)
    assert list(verdicts({"this policy": bad, "FIFO": bad}, 0.9).values()) == [False] * 5


def test_the_days_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told, picture = tmp_path / "day.json", tmp_path / "day.svg"
    main(["--scale", "0.02", "--json", str(told), "--picture", str(picture)])
    found = json.loads(told.read_text())
    assert found["schedulers"].keys() == SCHEDULERS.keys()
    assert all(0 < one["on_time"] <= found["bound"] <= 1 for one in found["schedulers"].values())
    drawn = minidom.parse(str(picture))  # noqa: S318  # our own
    assert len(drawn.getElementsByTagName("polyline")) == len(SCHEDULERS)
    assert "of the bound" in capsys.readouterr().out


def test_a_policy_that_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.json").write_text("{}")
    assert main(["--policy", str(tmp_path / "policy.json")]) == 1
    assert "otherwise" in capsys.readouterr().err


def test_a_part_of_each_hour_goes_as_the_whole_day_must() -> None:
    found, bound = simulated(shipped(), trace.SEED, 0.05)
    ours, fifo = found["this policy"], found["FIFO"]
    assert ours.on_time / bound >= 0.95
    assert ours.on_time - fifo.on_time >= 0.25
    assert min(ours.low_shares) > 0
    assert all(later >= 0 for _, later in pairwise(ours.by_hour))
