"""What the flood's measurement calls good, and that its slow worker is the shipped one but for its handler."""

from dataclasses import replace
from pathlib import Path

from bench.measure.flood import Found
from bench.measure.latency import Spread
from deploy.local import procfile

ROOT = Path(__file__).resolve().parents[2]
GOOD = Found(
    rate=50.0,
    slow=False,
    idle=Spread(3_250, 8.0, 12.0, 15.0, 30.0),
    beside=Spread(3_250, 12.0, 25.0, 40.0, 70.0),
    lost=0,
    waiting=100_000,
    low_alone_per_s=1_000.0,
    low_beside_per_s=900.0,
    ended_while_high_is_due={"high": 800, "medium": 150, "low": 50},
)


def test_what_holds_is_said_to() -> None:
    assert all(GOOD.verdicts().values())


def test_each_thing_that_does_not_hold_is_said() -> None:
    for bad in (
        replace(GOOD, beside=replace(GOOD.beside, p99=50.1), idle=replace(GOOD.idle, p99=40.0)),
        replace(GOOD, idle=replace(GOOD.idle, p99=13.0)),
        replace(GOOD, lost=1),
        replace(GOOD, beside=replace(GOOD.beside, count=2_999)),
        replace(GOOD, low_beside_per_s=790.0),
        replace(GOOD, waiting=0),
        replace(GOOD, ended_while_high_is_due={"high": 70, "low": 30}),
        replace(GOOD, ended_while_high_is_due={}),
    ):
        assert list(bad.verdicts().values()).count(False) == 1


def test_the_slow_worker_is_the_shipped_one_but_for_its_handler() -> None:
    ours, shipped = procfile.read(ROOT / "bench" / "measure" / "slow.Procfile"), procfile.read(ROOT / "Procfile")
    shipped["worker-low"] = shipped["worker-low"].replace("tasks.worker:celery", "bench.measure.slow:celery")
    assert ours == shipped
