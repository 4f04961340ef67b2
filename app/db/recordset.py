"""Owns how rows travel to PostgreSQL: all of a statement's in one parameter, JSON that ``json_to_recordset`` reads.

An array for each column costs both more: a literal to write, a literal and a cast to read, for each column.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson


def packed(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as JSON: a Decimal and bytes as the text that PostgreSQL reads for them.

    Raises:
        TypeError: a value is none that a column takes, or text that isn't Unicode.
    """
    return orjson.dumps(rows, default=_as_text).decode()


def _as_text(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    raise TypeError(f"no column takes {type(value).__name__}")
