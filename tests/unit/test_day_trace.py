"""The simulated day is one day: whoever changes it changes this file too, and has to say so."""

import hashlib

from bench.simulate import trace
from bench.simulate.service import CORES

DIGEST = "6aa2dd39d215ff6cb415de9024061f381e501375b4192bf1543039fb21a8855b"


def digest(arrivals: list[trace.Arrival]) -> str:
    found = hashlib.sha256()
    for one in arrivals:
        found.update(repr((round(one.at, 6), one.source, one.type, one.value, round(one.deadline, 6))).encode())
    return found.hexdigest()


def test_the_trace_is_the_one_that_was_committed_before_the_policy_was_held_against_it() -> None:
    assert digest(trace.day(scale=0.02)) == DIGEST


def test_parts_of_what_arrives_make_up_the_whole() -> None:
    assert (sum(kind.usual for kind in trace.KINDS), sum(kind.noon for kind in trace.KINDS)) == (100, 100)
    assert sum(trace.TENANTS.values()) == 100


def test_noon_is_three_times_what_the_machine_can_do() -> None:
    begin, end = (bound / 10 for bound in trace.NOON_S)
    arrived = [one for one in trace.day(flood=False, scale=0.1) if begin <= one.at < end]
    load = sum(one.cost_s for one in arrived) / (CORES * (end - begin))
    assert 2.7 < load < 3.1


def test_the_day_without_its_flood_is_the_same_day() -> None:
    with_flood, without = trace.day(scale=0.05), trace.day(scale=0.05, flood=False)
    assert [one for one in with_flood if not one.flood] == without
    assert {one.source for one in with_flood if one.flood} == {trace.FLOODING}


def test_nothing_is_late_before_it_comes() -> None:
    assert all(one.at <= one.counts_from < one.deadline for one in trace.day(scale=0.05))
