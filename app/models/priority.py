"""Owns the priority policies: every version that was ever set, who changed what, and what a shadow has counted."""

from datetime import datetime
from enum import IntEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Index, PrimaryKeyConstraint, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Code, Instant
from app.models.event import Lane


class PolicyState(IntEnum):
    """What a policy is now."""

    LIVE = 1
    """It decides."""
    CANDIDATE = 2
    """It runs in shadow beside the live one and decides nothing."""
    RETIRED = 3


class PriorityPolicy(Base):
    """One version of the policy; its document never changes."""

    __tablename__ = "priority_policy"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Counts from 1; 0 is the policy that Tiercel ships, and has no row."""
    state: Mapped[PolicyState] = mapped_column(Code(PolicyState))
    document: Mapped[dict[str, Any]]
    author: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text, server_default=text("''"))
    created_at: Mapped[Instant] = mapped_column(server_default=func.now())
    live_from: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When it went live last; None where it never did."""

    __table_args__ = (
        # One live policy and one candidate, whatever two admins do at once.
        Index(
            "priority_policy_state_idx",
            "state",
            unique=True,
            postgresql_where=text(f"state <> {PolicyState.RETIRED:d}"),
        ),
    )


class PriorityChange(Base):
    """One change of the policies: append-only, a trigger refuses all else."""

    __tablename__ = "priority_change"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[Instant] = mapped_column(server_default=func.clock_timestamp())
    author: Mapped[str] = mapped_column(Text)
    """``key:NAME#ID`` of an API key, or ``cli:USER`` of a command line."""
    action: Mapped[str] = mapped_column(Text)
    version: Mapped[int]
    was: Mapped[int]
    """The version that was live before."""
    diff: Mapped[list[Any]]
    note: Mapped[str] = mapped_column(Text, server_default=text("''"))


class PriorityShadow(Base):
    """How often a candidate would have decided what, beside what the live policy decided."""

    __tablename__ = "priority_shadow"
    __table_args__ = (PrimaryKeyConstraint("version", "against", "live_lane", "candidate_lane", "rule"),)

    version: Mapped[int]
    """The candidate's."""
    against: Mapped[int]
    """The live one's."""
    live_lane: Mapped[Lane] = mapped_column(Code(Lane))
    candidate_lane: Mapped[Lane] = mapped_column(Code(Lane))
    rule: Mapped[str] = mapped_column(Text)
    """The candidate's rule that decided."""
    events: Mapped[int] = mapped_column(BigInteger)
