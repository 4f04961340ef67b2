"""Owns what a handler is: which part of an event is state, which is fact, and which typed rows it fills."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.events.incoming import JsonObject
from app.models import Owned

Row = dict[str, Any]
"""The columns of one typed row besides its owner and version; ``key`` where the owner has several."""


@dataclass(frozen=True, slots=True)
class Shop:
    """What a source's options say that its sender's objects don't."""

    currency: str | None = None
    """ISO 4217: what prices without a currency are in."""


class NotProjectable(Exception):
    """The data lacks what the typed row needs; the entity itself is kept all the same."""


class NotedRows(list[Row]):
    """Typed rows, with notes on what of the data was left out: a column, a row or a rule that has none."""

    def __init__(self, rows: Iterable[Row], notes: Sequence[str]) -> None:
        super().__init__(rows)
        self.notes = notes
        """Sentences for the event's timeline."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how far apart a handler's events are tried; None means as the settings say."""

    max_attempts: int | None = None
    base_s: float | None = None
    cap_s: float | None = None


@dataclass(frozen=True, slots=True)
class Handler:
    """The rule for one entity type."""

    model: type[Owned] | None = None
    rows: Callable[[JsonObject], Sequence[Row]] | None = None
    """The typed rows in the sender's object; NotedRows where something was left out. Raises NotProjectable."""
    shop_rows: Callable[[JsonObject, Shop], Sequence[Row]] | None = None
    """The same, in place of ``rows``, where the object alone doesn't say it all."""
    many: bool = False
    """Whether an owner may have several rows, so that those it no longer mentions are to be removed."""
    facts: frozenset[str] = field(default_factory=frozenset)
    """The verbs (last part of the event's type) whose events are facts as well as state."""
    asks: bool = False
    """Its events may ask to leave, to erase or to list (``app/handlers/requests.py``)."""
    always_fact: bool = False
    """Every event of this entity type is a fact as well."""
    retries: Retries = Retries()

    def rows_of(self, data: JsonObject, shop: Callable[[], Shop]) -> Sequence[Row]:
        """Return the typed rows in the sender's object; ``shop`` is asked only where that is needed.

        Raises:
            NotProjectable: the object lacks what the rows need.
        """
        if self.shop_rows is not None:
            return self.shop_rows(data, shop())
        return () if self.rows is None else self.rows(data)

    def is_fact(self, event_type: str) -> bool:
        """Tell whether an event of this type happened, rather than only describes."""
        return self.always_fact or event_type.rpartition(".")[2] in self.facts
