"""Owns the declarative base, the column types that every table shares, and constraint names."""

from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, ClassVar

from sqlalchemy import DateTime, Dialect, MetaData, Numeric, SmallInteger
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeDecorator

Instant = Annotated[datetime, mapped_column(DateTime(timezone=True))]
"""An aware UTC time."""


class Code(TypeDecorator[Any]):
    """An IntEnum kept as a smallint."""

    impl = SmallInteger
    cache_ok = True

    def __init__(self, enum: type[IntEnum]) -> None:
        super().__init__()
        self.enum = enum

    def process_bind_param(self, value: IntEnum | int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Return the number that is stored."""
        return None if value is None else int(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> IntEnum | None:  # noqa: ARG002
        """Return the member that a stored number means."""
        return None if value is None else self.enum(value)


class Base(DeclarativeBase):
    """Every table of Tiercel."""

    metadata = MetaData(
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "pk": "%(table_name)s_pkey",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {dict[str, Any]: JSONB, list[Any]: JSONB}


Exact = Numeric(asdecimal=True)
"""A number of any size, to the digit."""
