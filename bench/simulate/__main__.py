"""Owns ``python -m bench.simulate``: the simulated campaign day through four schedulers; figures, JSON, a picture.

It needs no running system and takes about a minute.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.errors import Rejected
from app.models import Lane
from app.priority import Compiled, read_policy, shipped
from bench.simulate import trace
from bench.simulate.bound import upper_bound
from bench.simulate.jobs import decided
from bench.simulate.picture import draw
from bench.simulate.report import Figures, as_json, figures, verdicts
from bench.simulate.schedulers import Fifo, StaticTiers
from bench.simulate.simulate import Scheduler, run
from bench.simulate.tiercel import Tiercel

SCHEDULERS: dict[str, Callable[[], Scheduler]] = {"FIFO": Fifo, "static tiers": StaticTiers, "this policy": Tiercel}


def simulated(policy: Compiled, seed: int, scale: float = 1.0) -> tuple[dict[str, Figures], float]:
    """Return each scheduler's figures, and the upper bound as a part of all value."""
    day = trace.day(seed, scale=scale)
    events = decided(day, policy)
    found = {}
    for name, scheduler in SCHEDULERS.items():
        beside = [event.job() for event in events]
        alone = [event.job() for event in events if not event.arrival.flood]
        run(beside, scheduler())
        run(alone, scheduler())
        found[name] = figures(beside, alone, scale)
    return found, upper_bound(day) / sum(arrival.value for arrival in day)


def main(words: Sequence[str] | None = None) -> int:
    """Simulate, show, and return the exit status: 1 where something doesn't hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--policy", type=Path, metavar="FILE", help="a policy instead of the shipped one")
    parser.add_argument("--seed", type=int, default=trace.SEED, help="another day like it (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="shorten every hour, to try it (%(default)g)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write the picture there, as SVG")
    given = parser.parse_args(words)
    try:
        policy = Compiled(read_policy(json.loads(given.policy.read_text()))) if given.policy else shipped()
    except (OSError, ValueError, Rejected) as error:
        sys.stderr.write(f"bench: {given.policy}: {error}\n")
        return 1
    found, bound = simulated(policy, given.seed, given.scale)
    _show(found, bound)
    if given.json:
        given.json.write_text(json.dumps({"seed": given.seed, **as_json(found, bound)}, indent=1) + "\n")
    if given.picture:
        given.picture.write_text(draw(found, bound))
    return 0 if all(verdicts(found, bound).values()) else 1


def _show(found: dict[str, Figures], bound: float) -> None:
    table = Table(title="A campaign day")
    for column in (
        "",
        "on time",
        "of the bound",
        "p99 high",
        "medium",
        "low",
        "longest low",
        "slowdown",
        "flooded lanes",
        "any lane",
    ):
        table.add_column(column, justify="left" if not column else "right")
    for name, one in found.items():
        table.add_row(
            name,
            f"{one.on_time:.1%}",
            f"{one.on_time / bound:.1%}",
            *(f"{one.p99_s[lane]:.1f} s" for lane in Lane),
            f"{one.longest_low_s:.0f} s",
            str(one.worst),
            str(one.worst_in_flooded),
            str(one.worst_in_any),
        )
    table.add_row("upper bound", f"{bound:.1%}", "100.0%", *[""] * 7)
    console = Console(width=150)
    console.print(table)
    console.print(
        "low's part of the work in each minute of noon: "
        + "; ".join(f"{name} {' '.join(f'{share:.0%}' for share in one.low_shares)}" for name, one in found.items())
    )
    for words, holds in verdicts(found, bound).items():
        console.print(f"{'yes' if holds else 'NO '}  {words}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
