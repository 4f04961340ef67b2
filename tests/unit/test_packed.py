"""Rows as JSON, as ``json_to_recordset`` reads them."""

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.db.recordset import packed
from app.models import Lane


def test_each_kind_of_value_travels_as_postgresql_reads_it() -> None:
    row = {
        "version": Decimal("1795000000.123456000000000000001"),
        "digest": b"\x00\xff",
        "id": uuid.UUID(int=1),
        "lane": Lane.LOW,
        "at": datetime(2026, 11, 22, 1, 2, 3, 4, tzinfo=UTC),
        "payload": '{"a": "\\u0000 %s \\""}',
        "none": None,
    }
    assert json.loads(packed([row])) == [
        {
            "version": "1795000000.123456000000000000001",
            "digest": "\\x00ff",
            "id": "00000000-0000-0000-0000-000000000001",
            "lane": 2,
            "at": "2026-11-22T01:02:03.000004+00:00",
            "payload": '{"a": "\\u0000 %s \\""}',
            "none": None,
        }
    ]


@pytest.mark.parametrize("value", [object(), "\ud800"])
def test_what_no_column_takes_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        packed([{"x": value}])
