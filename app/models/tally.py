"""Owns the tables of numbers that only grow: what became of events, how long it took, what the dispatcher did."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Code
from app.models.event import Lane, Outcome


class TallyMark(Base):
    """Up to where ends are counted; one row."""

    __tablename__ = "tally_mark"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    snapshot: Mapped[str | None] = mapped_column(Text)
    """What was visible at the last count (pg_snapshot); null before the first."""
    since: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("'-infinity'"))
    """Nothing that ended before is still to be counted."""


class TallyOutcome(Base):
    """How many events of a source and lane ended in one way."""

    __tablename__ = "tally_outcome"

    source_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    lane: Mapped[Lane] = mapped_column(Code(Lane), primary_key=True, autoincrement=False)
    outcome: Mapped[Outcome] = mapped_column(Code(Outcome), primary_key=True, autoincrement=False)
    count: Mapped[int] = mapped_column(BigInteger)


class TallyTime(Base):
    """How many times of a lane and type fell between two bounds."""

    __tablename__ = "tally_time"

    measured: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    lane: Mapped[Lane] = mapped_column(Code(Lane), primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(Text, primary_key=True)
    """An entity type that has a handler, else one word for all others."""
    bucket: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    count: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float]


class TallyWork(Base):
    """How often the dispatchers did one step in a lane."""

    __tablename__ = "tally_work"

    lane: Mapped[Lane] = mapped_column(Code(Lane), primary_key=True, autoincrement=False)
    step: Mapped[str] = mapped_column(Text, primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)


class Uptime(Base):
    """A minute in which a dispatcher led and the broker took messages."""

    __tablename__ = "uptime"

    minute: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
