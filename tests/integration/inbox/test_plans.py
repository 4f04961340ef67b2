"""Owns that no statement of an event's way is planned to read a whole table, also where the tables are all but empty.

Prepared statements are planned at a process's first use of them. A plan that reads all of a small table passes for as
good as any, and is kept while the table grows.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.db.pipeline import _prepared
from app.messaging.pointer import Pointer
from app.resources import Resources
from bench.measure.plans import OWNED, plans, statements
from tasks.process import process
from tests.support.factories import Inbox, incoming

GROWS = {"event", "event_key", "entity", "fact", "lead", *(model.__tablename__ for model in OWNED)}
ALL_OF_IT = {"event_lease_idx"}
"""Holds only what is being worked on."""


def read_whole(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the parts of a plan that read all of a table that grows."""
    found = plan.keys() & {"Index Cond", "TID Cond", "Recheck Cond"} or plan.get("Index Name") in ALL_OF_IT
    if plan.get("Relation Name") in GROWS and plan["Node Type"] != "ModifyTable" and not found:
        yield f"{plan['Node Type']} {plan.get('Index Name', '')} on {plan['Relation Name']}"
    for below in plan.get("Plans", ()):
        yield from read_whole(below)


@pytest.mark.parametrize("rows", [0, 1, 30, 300])
def test_no_statement_of_an_events_way_reads_a_whole_table(rows: int, inbox: Inbox, resources: Resources) -> None:
    # As on a new system: no vacuum has seen them. One that saw them empty makes the planner sure of it until the next.
    inbox.sql(f"TRUNCATE {', '.join(sorted(GROWS))}")
    stored = inbox.accept(*(incoming(entity_id=f"sku-{number}") for number in range(rows)))
    process(resources, [Pointer(one.id, 0) for one in stored])
    found = {name: list(read_whole(plan[0][0]["Plan"])) for name, plan in plans(inbox.engine, "FORMAT JSON")}
    assert {name: whole for name, whole in found.items() if whole} == {}


def test_every_statement_of_an_events_way_has_its_plan_in_the_docs() -> None:
    written = Path("docs/plans.md").read_text()
    assert [
        name for name, found in statements() if _prepared(found.text).definition and f"`{name}`" not in written
    ] == []


def test_no_statement_starts_processes_of_its_own(inbox: Inbox) -> None:
    # What makes PostgreSQL's planner take parallel plans wherever it may.
    cheap = (
        "parallel_setup_cost",
        "parallel_tuple_cost",
        "min_parallel_index_scan_size",
        "min_parallel_table_scan_size",
    )
    inbox.accept(*(incoming(entity_id=f"sku-{number}") for number in range(300)))
    try:
        for setting in cheap:
            inbox.sql(f"ALTER ROLE CURRENT_USER SET {setting} = 0")
        inbox.engine.dispose()
        parallel = [name for name, plan in plans(inbox.engine, "COSTS OFF") if "Gather" in "".join(plan)]
    finally:
        for setting in cheap:
            inbox.sql(f"ALTER ROLE CURRENT_USER RESET {setting}")
        inbox.engine.dispose()
    assert parallel == []
