"""Owns waking the dispatcher."""

from sqlalchemy import text
from sqlalchemy.orm import Session

CHANNEL = "tiercel_dispatch"
"""The NOTIFY channel that wakes the dispatcher."""


def wake(session: Session) -> None:
    """Wake the dispatcher when this transaction commits."""
    session.execute(text(f"NOTIFY {CHANNEL}"))
