"""Every table in one place: import models from here."""

from app.models.api import ApiKey, ApiRequest, Audit, LaneState, Scope, Shed
from app.models.base import Base
from app.models.entity import Entity, Fact
from app.models.event import HELD, Event, EventConflict, EventKey, Lane, Outcome, Resolution, Status, Unmapped
from app.models.priority import PolicyState, PriorityChange, PriorityPolicy, PriorityShadow
from app.models.request import RequestKind, RequestStatus, SenderRequest
from app.models.running import LeaderState, PeriodicRun, Replay, ReplayState
from app.models.source import Source
from app.models.tally import TallyMark, TallyOutcome, TallyTime, TallyWork, Uptime
from app.models.typed import Campaign, ContentItem, Currency, Lead, Owned, Price, Promotion, Segment

__all__ = [
    "HELD",
    "ApiKey",
    "ApiRequest",
    "Audit",
    "Base",
    "Campaign",
    "ContentItem",
    "Currency",
    "Entity",
    "Event",
    "EventConflict",
    "EventKey",
    "Fact",
    "Lane",
    "LaneState",
    "Lead",
    "LeaderState",
    "Outcome",
    "Owned",
    "PeriodicRun",
    "PolicyState",
    "Price",
    "PriorityChange",
    "PriorityPolicy",
    "PriorityShadow",
    "Promotion",
    "Replay",
    "ReplayState",
    "RequestKind",
    "RequestStatus",
    "Resolution",
    "Scope",
    "Segment",
    "SenderRequest",
    "Shed",
    "Source",
    "Status",
    "TallyMark",
    "TallyOutcome",
    "TallyTime",
    "TallyWork",
    "Unmapped",
    "Uptime",
]
