"""Owns that no statement of an event's way is planned to read a whole table, also where the tables are all but empty.

Prepared statements are planned at a process's first use of them. A plan that reads all of a small table passes for as
good as any, and is kept while the table grows.
"""

import importlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import TextClause

from app.bare import _prepared
from app.handlers import writes
from app.models.typed import Owned
from app.pointers import Pointer
from app.resources import Resources
from tasks.process import process
from tests.factories import Inbox, incoming

ON_THE_WAY = (
    "app.inbox.store",
    "app.inbox.claim",
    "app.inbox.finish",
    "app.inbox.due",
    "app.inbox.deadlines",
    "app.inbox.ages",
    "app.handlers.apply",
)
OWNED: list[Any] = Owned.__subclasses__()
GROWS = {"event", "event_key", "entity", "fact", "lead", *(model.__tablename__ for model in OWNED)}
ALL_OF_IT = {"event_lease_idx"}
"""Holds only what is being worked on."""


class Nothing(dict[str, Any]):
    """Any parameter, as NULL: a generic plan is the same for all."""

    def __missing__(self, key: str) -> None:
        return None


def statements() -> Iterator[tuple[str, TextClause]]:
    for module in ON_THE_WAY:
        for name, value in vars(importlib.import_module(module)).items():
            if isinstance(value, TextClause):
                yield f"{module}.{name}", value
    for make in (writes._make_entities, writes._write_entities, writes._record_facts, writes._record_leads):
        yield f"writes.{make.__name__}", make()
    for model in OWNED:
        for name, statement in zip(("drop", "write"), writes._typed(model), strict=True):
            yield f"writes.{name}[{model.__name__}]", statement


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
    found: dict[str, list[str]] = {}
    pooled: Any = inbox.engine.raw_connection()
    with closing(pooled), pooled.cursor() as cursor:
        for name, statement in statements():
            prepared = _prepared(statement.text)
            if prepared.definition:
                explain = f"DEALLOCATE ALL; {prepared.definition}; EXPLAIN (FORMAT JSON) {prepared.call}"
                cursor.execute(explain, Nothing())
                (plan,) = cursor.fetchone()[0]
                found[name] = list(read_whole(plan["Plan"]))
        pooled.invalidate()
    assert {name: whole for name, whole in found.items() if whole} == {}
