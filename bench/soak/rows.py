"""Owns the comparison of all rows before and after: what requests that may change nothing have changed."""

from collections.abc import Iterator, Mapping

from sqlalchemy import Engine, text

_TABLES = text("""
SELECT table_name FROM information_schema.tables
WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY 1
""")
LIVING = {
    "lane": "the processes' own beats and figures",
    "leader": "who leads",
    "periodic_run": "the clock's runs",
    "shed": "refusals",
    "tally_mark": "how far outcomes are counted",
    "tally_outcome": "outcomes of what came before",
    "tally_time": "times of what came before",
    "tally_work": "work on what came before",
    "uptime": "the processes' own beats",
}
"""Tables that change by themselves, and what changes there."""
_LAST_USED = "api_key"


def digests(engine: Engine) -> dict[str, tuple[int, str]]:
    """Return each table's count of rows and a digest of all of them; of keys without the time of their last use."""
    found = {}
    with engine.connect() as connection:
        for (table,) in connection.execute(_TABLES).all():
            row = "(to_jsonb(t) - 'last_used_at')::text" if table == _LAST_USED else "t::text"
            each = f'SELECT md5({row}) AS d FROM "{table}" t'  # noqa: S608  # names from the catalogue
            both = text(f"SELECT count(*), coalesce(md5(string_agg(d, '' ORDER BY d)), '') FROM ({each}) AS r")  # noqa: S608
            count, digest = connection.execute(both).one()
            found[table] = (count, digest)
    return found


def changes(before: Mapping[str, tuple[int, str]], after: Mapping[str, tuple[int, str]]) -> Iterator[str]:
    """Yield what is different in the tables that change only when somebody changes something."""
    for table in sorted(before.keys() | after.keys()):
        if table not in LIVING and before.get(table) != after.get(table):
            counts = " to ".join(str(one.get(table, (0,))[0]) for one in (before, after))
            yield f"the rows of {table} have changed: from {counts}"
