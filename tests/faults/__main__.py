"""Owns ``make faults``: every fault in its long form, the table of what came of it, and docs/reliability.md.

Exit status 0 when nothing was lost, applied twice or wrong, and everything was healthy again in time.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from app.models import Outcome
from tests.faults.injections import FAULTS
from tests.faults.poison import ENDLESS, POISONS, poisoned
from tests.faults.run import Result, run
from tests.faults.system import ROOT, System

HEALTHY_WITHIN_S = 15.0
_PAGE = ROOT / "docs" / "reliability.md"
_BEGIN, _END = "<!-- make faults writes from here -->", "<!-- to here -->"


def main() -> int:
    """Run the faults and return the exit status."""
    words = _arguments()
    console = Console(width=200)
    results: dict[str, Result] = {}
    before = json.loads(words.results.read_text()) if words.results and words.results.exists() else {}
    took_min, began = float(before.get("took_min", 0)), time.monotonic()
    for kept in before.get("results", ()):
        results[kept["fault"]] = Result(**{**kept, "refused": Counter(kept["refused"])})
    with tempfile.TemporaryDirectory(prefix="tiercel-faults-") as folder:
        Path(folder).chmod(0o711)
        for result in _all(Path(folder), words):
            results[result.fault] = result
            if words.results:
                kept = {
                    "took_min": took_min + (time.monotonic() - began) / 60,
                    "results": [*map(vars, results.values())],
                }
                words.results.write_text(json.dumps(kept))
            console.print(_line(result), highlight=False)
            for difference in result.differences[:10]:
                console.print(f"    {difference}", style="red", highlight=False, markup=False)
    took_min += (time.monotonic() - began) / 60
    order = [fault.name for fault in FAULTS]
    ranked = sorted(
        results.values(), key=lambda result: order.index(result.fault) if result.fault in order else len(order)
    )
    text = _table(ranked, words, took_min)
    if words.write:
        page = _PAGE.read_text()
        _PAGE.write_text(f"{page.partition(_BEGIN)[0]}{_BEGIN}\n\n{text}\n{_END}{page.partition(_END)[2]}")
    console.print(text, highlight=False, markup=False)
    return 0 if all(map(_holds, ranked)) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults ARGS=…", description="Break everything, one thing at a time.")
    parser.add_argument("--count", type=int, default=10_000, help="events a fault (%(default)s)")
    parser.add_argument("--rate", type=float, default=400.0, help="events a second, at the most (%(default)s)")
    parser.add_argument("--seed", type=int, default=2026, help="the same seed plans the same events (%(default)s)")
    parser.add_argument("--only", default="", help="faults whose name this regular expression finds")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    parser.add_argument("--results", type=Path, help="a file of results: earlier ones of other faults are kept")
    return parser.parse_args()


def _all(home: Path, words: argparse.Namespace) -> Iterator[Result]:
    seeds = {fault.name: words.seed + number for number, fault in enumerate(FAULTS)}
    for proxied in (False, True):
        of_kind = [fault for fault in FAULTS if fault.proxied is proxied and re.search(words.only, fault.name)]
        if not of_kind:
            continue
        with System(home / ("proxied" if proxied else "direct"), proxied=proxied, standby=True) as system:
            for fault in of_kind:
                yield run(system, fault, seed=seeds[fault.name], count=words.count, rate=words.rate)
    if re.search(words.only, "poison"):
        with System(home / "poison") as system:
            for nouns, times in ((POISONS, 4), ((ENDLESS,), 8)):
                yield _poison(system, nouns, words, times)


def _poison(system: System, nouns: Sequence[str], words: argparse.Namespace, times: int) -> Result:
    # It takes long to die, and some events are to come after it.
    outcomes, result = poisoned(system, nouns, seed=words.seed, count=times * words.count, rate=words.rate)
    result.differences += [
        f"{noun} ended as {outcome}" for noun, outcome in outcomes.items() if outcome is not Outcome.DEAD
    ]
    return result


def _holds(result: Result) -> bool:
    healthy = result.healthy_s is not None and result.healthy_s <= HEALTHY_WITHIN_S
    return healthy and not result.differences


def _line(result: Result) -> str:
    refused = ", ".join(f"{count:,} of {what}" for what, count in result.refused.most_common()) or "none"
    healthy = "not seen" if result.healthy_s is None else f"{result.healthy_s:.1f}"
    figures = (result.accepted, result.lost, result.twice, result.wrong_rows)
    return "| " + " | ".join([result.fault, *(f"{figure:,}" for figure in figures), refused, healthy]) + " |"


def _table(results: Sequence[Result], words: argparse.Namespace, took_min: float) -> str:
    total = sum(result.accepted for result in results)
    bad = [sum(getattr(result, what) for result in results) for what in ("lost", "twice", "wrong_rows")]
    first = (
        f"`make faults` on {os.cpu_count()} cores, {words.count:,} events a fault at {words.rate:.0f}/s at the most, "
        f"seed {words.seed}, {took_min:.0f} minutes: **{total:,} accepted, {bad[0]} lost, {bad[1]} applied twice, "
        f"{bad[2]} wrong rows.**"
    )
    return "\n".join(
        [
            first,
            "",
            "| fault | accepted | lost | applied twice | wrong rows | told to come later | healthy again (s) |",
            "|---|---|---|---|---|---|---|",
            *map(_line, results),
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
