"""``python -m bench.measure.policy``: what a decision costs under 200 rules, under the shipped policy, and worse."""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

from app.events.incoming import Incoming, JsonObject, Operation, Version
from app.priority import Compiled, read_policy
from app.priority.default import DOCUMENT

BOUND_US = 50.0
RULES, SORTS = 200, 60
_NOW = 1_795_000_000.0
_LANES = ("high", "medium", "low")


def policy(dice: Random, rules: int) -> Compiled:
    """Return a policy of ``rules`` rules, half of them with conditions on the body, and the shipped matrix."""
    made: list[dict[str, Any]] = []
    for number in range(rules):
        when: dict[str, Any] = {"entity_type": f"noun{number % SORTS}"}
        if number % 4 == 0:
            when = {"type": f"noun{number % SORTS}.up*"}
        if number % 7 == 0:
            when |= {"source": ["shop", "store-*"]}
        # The first rules of an entity type have conditions, so that many of them are really tried.
        if number < rules // 2 or number % 2:
            when["payload"] = [{"pointer": f"/fields/f{dice.randrange(20)}", "op": "gt", "value": 900}]
        made.append({"name": f"rule {number}", "when": when, "lane": dice.choice(_LANES), "priority": number % 10})
    matrix = {**DOCUMENT["matrix"], "when": {}}
    return Compiled(read_policy({**DOCUMENT, "rules": made, "matrix": matrix}), 1)


def all_tried(rules: int) -> Compiled:
    """Return the worst there can be: every rule concerns every event, and is refused by its condition."""
    made = [
        {
            "name": f"rule {number}",
            "when": {"payload": [{"pointer": f"/f{number % 20}", "op": "eq", "value": "no"}]},
            "lane": "high",
        }
        for number in range(rules)
    ]
    return Compiled(read_policy({"rules": made, "otherwise": DOCUMENT["otherwise"]}), 1)


def events(dice: Random, count: int, sorts: int) -> list[Incoming]:
    """Return events of ``sorts`` entity types with bodies of 20 and more fields."""
    return [_event(dice, f"noun{number % sorts}") for number in range(count)]


def _event(dice: Random, noun: str) -> Incoming:
    data: JsonObject = {
        "id": dice.randrange(10**9),
        "starts_at": "2026-11-27T06:00:00Z",
        "ends_at": "2026-11-28T06:00:00+00:00",
        "expected_revenue": Decimal(dice.randrange(200_000)) / 100,
        "audience_size": dice.randrange(10**6),
        "brand_tier": "core",
        "fields": {f"f{number}": dice.randrange(1_000) for number in range(20)},
        **{f"f{number}": "text" for number in range(20)},
    }
    return Incoming(
        source="shop",
        external_id="msg",
        type=f"{noun}.updated",
        entity_type=noun,
        entity_id="1",
        operation=Operation.UPDATE,
        version=Version(Decimal(1), "1"),
        payload={"type": f"{noun}.updated", "data": data},
        data_pointer="/data",
    )


def measure(compiled: Compiled, given: Sequence[Incoming], *, cold: bool = False) -> list[float]:
    """Return what each decision cost, in microseconds of processor time; ``cold`` forgets before each."""
    clock = time.thread_time_ns
    taken = []
    for event in given:
        if cold:
            compiled.forget()
        began = clock()
        compiled.decide(event, kind="standard", at=_NOW)
        taken.append((clock() - began) / 1_000)
    return taken


def main(words: Sequence[str] | None = None) -> int:
    """Print the medians; 1 where the one of 200 rules is above the bound."""
    parser = argparse.ArgumentParser(prog="python -m bench.measure.policy", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rules", type=int, default=RULES)
    given = parser.parse_args(words)
    dice = Random(1)
    usual = events(dice, given.events, SORTS)
    shipped = Compiled(read_policy(DOCUMENT))
    campaigns = [_event(dice, "campaign") for _ in range(given.events)]
    rules = policy(dice, given.rules)
    measure(rules, usual)
    cases = {
        f"{given.rules} rules and the matrix": measure(rules, usual),
        f"{given.rules} rules and the matrix, sorts of events never seen before": measure(rules, usual, cold=True),
        f"{given.rules} rules, every one tried in vain": measure(all_tried(given.rules), usual),
        "the shipped policy, campaigns": measure(shipped, campaigns),
        "the shipped policy, events it has no rule for": measure(shipped, usual),
    }
    print(f"{'us a decision':75} {'median':>8} {'p99':>8}")
    for name, taken in cases.items():
        print(f"{name:75} {statistics.median(taken):8.1f} {statistics.quantiles(taken, n=100)[98]:8.1f}")
    median = statistics.median(next(iter(cases.values())))
    held = median <= BOUND_US
    print(f"{'held' if held else 'NOT HELD'}: median {median:.1f} us, bound {BOUND_US:.0f} us")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
