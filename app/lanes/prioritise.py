"""The policy that Tiercel ships, compiled: what counts where no other policy was ever set."""

from functools import cache

from app.lanes.compiled import Compiled
from app.lanes.default import DOCUMENT
from app.lanes.policy import read_policy


@cache
def shipped() -> Compiled:
    """Return the shipped policy, compiled once."""
    return Compiled(read_policy(DOCUMENT))
