"""Owns docs/plans.md: how PostgreSQL carries out each statement of an event's way, in a running system.

``python -m bench.measure.plans`` writes it. The plans are the generic ones that workers and receivers use: any
parameter, as NULL, gives the same.
"""

import argparse
import importlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, TextClause

from app.db.pipeline import _prepared
from app.handlers.writes import _make_entities, _record_facts, _record_leads, _typed, _write_entities
from app.models.typed import Owned
from bench.harness.target import find_target

ON_THE_WAY = (
    "app.inbox.store",
    "app.inbox.claim",
    "app.inbox.finish",
    "app.inbox.due",
    "app.inbox.deadlines",
    "app.inbox.ages",
    "app.handlers.apply",
)
_MAKERS = (_make_entities, _write_entities, _record_facts, _record_leads)
OWNED: list[Any] = Owned.__subclasses__()
_HEAD = """# Plans

How PostgreSQL carries out each statement of an event's way; `python -m bench.measure.plans` beside a running `make up`
writes this. They are prepared once a connection and planned for any parameters ([decision
11](decisions/0011-bare-connections-on-the-hot-path.md)), with plans that read a whole table switched off
(`app/db/engine.py`): the planner's figures of a queue are always old. `tests/integration/inbox/test_plans.py` holds
each of them to indexes, on tables of 0 to 300 rows.
"""


class Nothing(dict[str, Any]):
    """Any parameter, as NULL: a generic plan is the same for all."""

    def __missing__(self, key: str) -> None:
        return None


def statements() -> Iterator[tuple[str, TextClause]]:
    """Yield every statement of an event's way, with its name."""
    for module in ON_THE_WAY:
        for name, value in vars(importlib.import_module(module)).items():
            if isinstance(value, TextClause):
                yield f"{module}.{name}", value
    for make in _MAKERS:
        yield f"writes.{make.__name__}", make()
    for model in OWNED:
        for name, statement in zip(("drop", "write"), _typed(model), strict=True):
            yield f"writes.{name}[{model.__name__}]", statement


def plans(engine: Engine, how: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and the plan of every statement that is prepared; ``how`` is EXPLAIN's options."""
    pooled: Any = engine.raw_connection()
    with closing(pooled), pooled.cursor() as cursor:
        for name, statement in statements():
            prepared = _prepared(statement.text)
            if prepared.definition:
                cursor.execute(f"DEALLOCATE ALL; {prepared.definition}; EXPLAIN ({how}) {prepared.call}", Nothing())
                yield name, [row[0] for row in cursor.fetchall()]
        pooled.invalidate()


def main() -> None:
    """Write the plans of the running system."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=Path("docs/plans.md"))
    given = parser.parse_args()
    parts = [_HEAD]
    for name, lines in plans(find_target().engine, "COSTS OFF"):
        parts += [f"## `{name}`\n", "```", *lines, "```\n"]
    given.file.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
