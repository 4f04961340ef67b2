"""Owns waking the dispatcher."""

from sqlalchemy import text

from app.db.pipeline import Executor

CHANNEL = "tiercel_dispatch"
"""The NOTIFY channel that wakes the dispatcher."""


def wake(session: Executor) -> None:
    """Wake the dispatcher when this transaction commits."""
    session.execute(text(f"NOTIFY {CHANNEL}"))
