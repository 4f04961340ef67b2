"""The policy that Tiercel ships, compiled: what counts where no other policy was ever set."""

from functools import cache

from app.priority.default import DOCUMENT
from app.priority.lane_choice import Compiled
from app.priority.policy import read_policy


@cache
def shipped() -> Compiled:
    """Return the shipped policy, compiled once."""
    return Compiled(read_policy(DOCUMENT))
