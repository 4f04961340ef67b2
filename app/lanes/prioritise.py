"""Owns prioritise under the policy that Tiercel ships: what counts where no other policy was ever set."""

from functools import cache

from app.events.incoming import Incoming
from app.lanes.compiled import Compiled
from app.lanes.decision import Decision
from app.lanes.default import DOCUMENT
from app.lanes.policy import read_policy


@cache
def shipped() -> Compiled:
    """Return the shipped policy, compiled once."""
    return Compiled(read_policy(DOCUMENT))


def prioritise(incoming: Incoming, *, kind: str = "", at: float | None = None) -> Decision:
    """Return the lane, the in-queue priority, the score and the reasons for an event, under the shipped policy.

    ``kind`` is the source's; ``at`` is now in Unix seconds: without it, a campaign's urgency doesn't count.
    """
    return shipped().decide(incoming, kind=kind, at=at)
