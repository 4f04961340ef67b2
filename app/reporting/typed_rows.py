"""Owns what people see of the typed rows: lists of campaigns, prices, leads and so on, by filter. Reads only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, Table, select, tuple_
from sqlalchemy.orm import Session

from app.models import (
    Base,
    Campaign,
    ContentItem,
    Currency,
    Lead,
    Owned,
    Price,
    Promotion,
    Segment,
    Source,
)


@dataclass(frozen=True, slots=True)
class Listing:
    """One kind of typed row: its table, and the columns that a list of it can be filtered by."""

    model: type[Owned | Lead]
    filters: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of its own, in the table's order."""
        return tuple(column.name for column in self.table.columns if column.name not in _SHARED)

    @property
    def table(self) -> Table:
        """Return its table."""
        model: Any = self.model
        table: Table = model.__table__
        return table


_SHARED = {"source_id", "entity_type", "entity_id", "key", "version", "event_id"}
LISTINGS: Mapping[str, Listing] = {
    "campaigns": Listing(Campaign, ("name", "status")),
    "promotions": Listing(Promotion, ("code", "status")),
    "prices": Listing(Price, ("sku", "currency")),
    "segments": Listing(Segment, ("name",)),
    "content": Listing(ContentItem, ("slug", "status")),
    "currencies": Listing(Currency, ("code",)),
    "leads": Listing(Lead, ("email", "campaign")),
}


def rows(  # noqa: PLR0913  # a filter each
    session: Session,
    listing: Listing,
    *,
    source: str | None = None,
    source_ids: Sequence[int] | None = None,
    equal: Mapping[str, str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: Sequence[Any] | None = None,
    limit: int,
) -> list[tuple[Any, str]]:
    """Return at most ``limit`` rows with their source's name, those after a position (``position_of``).

    In the order of their owners; leads by their events, the newest first, ``since`` and ``until`` by when they came.
    """
    model: Any = listing.model
    statement: Select[tuple[Any, str]] = select(model, Source.name).join(Source, Source.id == model.source_id)
    if source is not None:
        statement = statement.where(Source.name == source)
    if source_ids is not None:
        statement = statement.where(model.source_id.in_(source_ids))
    for name, value in (equal or {}).items():
        statement = statement.where(getattr(model, name) == value)
    if since is not None:
        statement = statement.where(model.captured_at >= since)
    if until is not None:
        statement = statement.where(model.captured_at < until)
    if model is Lead:
        statement = statement.order_by(model.event_id.desc())
        statement = statement if after is None else statement.where(model.event_id < after[0])
    else:
        order = (model.source_id, model.entity_type, model.entity_id, model.key)
        statement = statement.order_by(*order)
        statement = statement if after is None else statement.where(tuple_(*order) > tuple_(*after))
    return [(row, name) for row, name in session.execute(statement.limit(limit))]


def position_of(row: Owned | Lead) -> tuple[Any, ...]:
    """Return where a row stands in its list."""
    if isinstance(row, Lead):
        return (str(row.event_id),)
    return row.source_id, row.entity_type, row.entity_id, row.key


def shown(listing: Listing, row: Base, source: str) -> dict[str, Any]:
    """Return a row as people see it: every number with a fraction as text, to the digit."""
    values: Any = row
    owner: dict[str, Any] = {"source": source, "entity_type": values.entity_type, "entity_id": values.entity_id}
    if isinstance(row, Lead):
        owner["event_id"] = str(row.event_id)
    else:
        owner["key"] = values.key
    return {**owner, **{name: _plain(getattr(row, name)) for name in listing.columns}}


def _plain(value: Any) -> Any:
    return format(value, "f") if isinstance(value, Decimal) else value
