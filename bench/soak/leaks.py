"""Owns the search for what should never have been kept: a text in any column of any table, or in a log."""

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, text

_COLUMNS = text("""
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = current_schema()
  AND data_type IN ('text', 'character varying', 'character', 'json', 'jsonb', 'bytea', 'ARRAY')
ORDER BY table_name, column_name
""")


def in_database(engine: Engine, wanted: str) -> Iterator[str]:
    """Yield each table's column that holds a text anywhere."""
    with engine.connect() as connection:
        for table, column in connection.execute(_COLUMNS).all():
            # bytea as text is hex: it is searched in both forms.
            where = f"\"{column}\"::text LIKE '%' || :plain || '%' OR \"{column}\"::text LIKE '%' || :hexed || '%'"
            count = text(f'SELECT count(*) FROM "{table}" WHERE {where}')  # noqa: S608  # names from the catalogue
            found = connection.execute(count, {"plain": wanted, "hexed": wanted.encode().hex()}).scalar_one()
            if found:
                yield f"{found} rows of {table}.{column}"


def in_logs(paths: list[Path], wanted: str) -> Iterator[str]:
    """Yield each log file's lines that hold a text, cut to 200 characters."""
    files = [
        file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path]) if file.is_file()
    ]
    for file in files:
        for line in file.read_text(errors="replace").splitlines():
            if wanted in line:
                yield f"{file}: {line[:200]}"
