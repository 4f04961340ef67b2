"""Owns the options of the kind ``cloudevents``."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from app.sources.kinds import hmac_digest
from app.sources.kinds.fields import HeaderName, Label, Pointer
from app.sources.kinds.kind import Config


class CloudEventsConfig(Config):
    """The options; every pointer is a JSON pointer (RFC 6901) into the event in its structured form."""

    auth: Literal["bearer", "hmac"] = "bearer"
    """``Authorization: Bearer SECRET``, or an HMAC over the body."""
    header: HeaderName = "x-signature"
    """With ``hmac``: where the signature is."""
    prefix: Annotated[str, StringConstraints(max_length=50)] = ""
    encoding: hmac_digest.Encoding = "hex"
    algorithm: hmac_digest.Algorithm = "sha256"
    entity_type: Label | None = None
    """A fixed entity type. Unset: the last but one segment of the event's type."""
    entity_pointer: Pointer | None = None
    """The entity type."""
    id_pointer: Pointer | None = None
    """The entity's id. Unset: ``subject``, else ``/data/id``, else each event is an entity of its own."""
    version_pointer: Pointer | None = None
    """The entity's version. Unset: ``time``."""
    version_clock: Literal["time", "counter"] = "time"
    order_by: Literal["time", "sequence"] = "time"
    """``sequence`` takes that extension as the version; else it orders the events of one version."""
    reuses_ids: bool = False
    """Whether this sender gives a deleted id to a new entity."""
    origins: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]+$", max_length=253)], ...] = ()
    """Who may register in a handshake; empty: anybody, since each event is authenticated."""
    rate_per_minute: Annotated[int, Field(ge=1)] | None = None
    """What a handshake allows; unset: any rate."""
