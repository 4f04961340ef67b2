"""What a vendor is to the kind ``hmac``: how its topics are named, and what they mean."""

from collections.abc import Callable
from dataclasses import dataclass

from app.events.incoming import Incoming, JsonObject, Version
from app.sources.kinds.catalogue import Topic
from app.sources.kinds.hmac_config import HmacConfig
from app.sources.kinds.hmac_reading import key as by_options
from app.sources.kinds.kind import Outgoing, Request


def unchecked(_row: Topic, _body: JsonObject) -> None:
    """Take a topic that is signed."""


def no_version(_body: JsonObject) -> Version | None:
    """State nothing."""
    return None


def unchanged(event: Incoming) -> Incoming:
    """Return an event as it is."""
    return event


def no_headers(_outgoing: Outgoing) -> dict[str, str]:
    """Add nothing."""
    return {}


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor whose events the kind ``hmac`` understands."""

    topic: Callable[[Request, JsonObject], str]
    """The vendor's own name of what happened; empty where there is none."""
    row: Callable[[str, JsonObject], Topic]
    """(topic, body): what it means. Raises FieldInvalid."""
    key: Callable[[Request, JsonObject, HmacConfig], tuple[str, str | None]] = by_options
    """The idempotency key, and one over the content where the first isn't signed. Raises FieldInvalid."""
    check: Callable[[Topic, JsonObject], None] = unchecked
    """(what an unsigned topic means, body): raises FieldInvalid where the signed body contradicts it."""
    version: Callable[[JsonObject], Version | None] = no_version
    """When a delivery says that it happened, where it says so."""
    signs_topics: bool = False
    """Whether the topic stands in what is signed."""
    headers: Callable[[Outgoing], dict[str, str]] = no_headers
    """The headers beside the signature that the real sender would add."""
    finish: Callable[[Incoming], Incoming] = unchanged
    """What else is to be said of an event."""
