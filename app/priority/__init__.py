"""The priority policy: which lane an event belongs to, how it is ordered there, and why. Pure: no database, no clock.

A policy is data (``policy``), the shipped one as well (``default``); it is compiled once (``compiled``) and then asked
for every event.
"""

from app.priority.decision import Decision, Explanation
from app.priority.lane_choice import Compiled
from app.priority.policy import Policy, PolicyInvalid, read_policy
from app.priority.shipped import shipped

__all__ = ["Compiled", "Decision", "Explanation", "Policy", "PolicyInvalid", "read_policy", "shipped"]
