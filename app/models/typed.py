"""Owns the typed models: what a shop's code reads without knowing any platform's JSON.

Each row belongs to one owner entity and carries its version; a lead belongs to the event that brought it.
"""

import uuid
from datetime import datetime
from decimal import Decimal

from sqlalchemy import DateTime, Index, PrimaryKeyConstraint, Text, text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column
from sqlalchemy.schema import SchemaItem

from app.models.base import Base, Exact, Instant

_TIME = DateTime(timezone=True)


class Owned:
    """The columns that tie a typed row to its owner entity."""

    source_id: Mapped[int]
    entity_type: Mapped[str] = mapped_column(Text)
    entity_id: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text, server_default=text("''"))
    """Which of the owner's rows: empty where it has one."""
    version: Mapped[Decimal] = mapped_column(Exact)

    @declared_attr.directive
    def __table_args__(cls) -> tuple[SchemaItem, ...]:  # noqa: N805  # SQLAlchemy calls it on the class
        return (PrimaryKeyConstraint("source_id", "entity_type", "entity_id", "key"),)


class Campaign(Owned, Base):
    """A campaign and its schedule."""

    __tablename__ = "campaign"

    @declared_attr.directive
    def __table_args__(cls) -> tuple[SchemaItem, ...]:  # noqa: N805  # SQLAlchemy calls it on the class
        return (
            PrimaryKeyConstraint("source_id", "entity_type", "entity_id", "key"),
            Index("campaign_ends_at_idx", "ends_at", postgresql_where=text("ends_at IS NOT NULL")),
        )

    name: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str | None] = mapped_column(Text)
    starts_at: Mapped[datetime | None] = mapped_column(_TIME)
    ends_at: Mapped[datetime | None] = mapped_column(_TIME)
    budget: Mapped[Decimal | None] = mapped_column(Exact)
    currency: Mapped[str | None] = mapped_column(Text)


class Promotion(Owned, Base):
    """A promotion, discount or coupon."""

    __tablename__ = "promotion"
    name: Mapped[str | None] = mapped_column(Text)
    code: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str | None] = mapped_column(Text)
    starts_at: Mapped[datetime | None] = mapped_column(_TIME)
    ends_at: Mapped[datetime | None] = mapped_column(_TIME)
    percent_off: Mapped[Decimal | None] = mapped_column(Exact)
    amount_off: Mapped[Decimal | None] = mapped_column(Exact)
    currency: Mapped[str | None] = mapped_column(Text)


class Price(Owned, Base):
    """What something costs."""

    __tablename__ = "price"
    sku: Mapped[str | None] = mapped_column(Text)
    amount: Mapped[Decimal] = mapped_column(Exact)
    """In the currency's major unit."""
    currency: Mapped[str] = mapped_column(Text)
    compare_at: Mapped[Decimal | None] = mapped_column(Exact)
    """The price before a reduction."""


class Segment(Owned, Base):
    """A group of customers."""

    __tablename__ = "segment"
    name: Mapped[str | None] = mapped_column(Text)
    definition: Mapped[str | None] = mapped_column(Text)
    members: Mapped[int | None]


class ContentItem(Owned, Base):
    """A page, banner, entry or file."""

    __tablename__ = "content_item"
    title: Mapped[str | None] = mapped_column(Text)
    slug: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str | None] = mapped_column(Text)
    published_at: Mapped[datetime | None] = mapped_column(_TIME)


class Currency(Owned, Base):
    """A currency that the shop sells in."""

    __tablename__ = "currency"
    code: Mapped[str] = mapped_column(Text)
    exchange_rate: Mapped[Decimal | None] = mapped_column(Exact)
    enabled: Mapped[bool | None]
    is_default: Mapped[bool | None]


class Lead(Base):
    """One captured lead: a fact, so one row an event, whatever its entity became later."""

    __tablename__ = "lead"
    __table_args__ = (Index("lead_entity_idx", "source_id", "entity_type", "entity_id"),)

    event_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    source_id: Mapped[int]
    entity_type: Mapped[str] = mapped_column(Text)
    entity_id: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    campaign: Mapped[str | None] = mapped_column(Text)
    captured_at: Mapped[Instant]
