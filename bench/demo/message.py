"""Owns what the demo's senders send: one request each, and what the receiver must make of it."""

from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    """What the receiver must make of a message."""

    EVENT = "an event"
    COPY = "a copy of an event"
    CONFLICT = "another content under an event's key"
    REFUSED = "to be refused"


class Flaw(Enum):
    """What is wrong with a message, as its sender would say, and the status that answers it: 202 where it is kept."""

    FORGED = ("forged signature", 401)
    UNSIGNED = ("no signature", 401)
    REPLAYED = ("signature of an hour ago", 401)
    TRUNCATED = ("truncated JSON", 202)
    NAMELESS = ("no entity id", 202)
    HUGE = ("too large", 413)
    LOST = ("unknown source", 404)

    @property
    def text(self) -> str:
        """The flaw in words."""
        return self.value[0]

    @property
    def status(self) -> int:
        """The HTTP status that must answer it."""
        return self.value[1]

    @property
    def unmapped(self) -> bool:
        """Whether it is verified, and kept as it came since it can't be read."""
        return self.status == 202


@dataclass(frozen=True, slots=True)
class Message:
    """One request of one sender."""

    role: str
    """Which sender: shop, catalogue or crm."""
    external_id: str
    type: str
    body: bytes
    place: float
    """Where it stands in the order of sending."""
    fate: Fate = Fate.EVENT
    flaw: Flaw | None = None
    future: bool = False
    """Its version lies days ahead: it must be quarantined."""
