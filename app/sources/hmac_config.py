"""Owns the options of the kind ``hmac``: where a sender puts its signature, and where its body says what."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from app.sources import macs
from app.sources.fields import TOLERANCE_S, HeaderName, Label, Pointer
from app.sources.kind import Config


class HmacConfig(Config):
    """The options; every pointer is a JSON pointer (RFC 6901) into the body."""

    header: HeaderName = "x-hub-signature-256"
    prefix: Annotated[str, StringConstraints(max_length=50)] = "sha256="
    """What stands before the signature; not used with ``signed_timestamp``."""
    encoding: macs.Encoding = "hex"
    algorithm: macs.Algorithm = "sha256"
    secret_encoding: macs.SecretEncoding = "utf8"  # noqa: S105  # no secret
    """What the secret's text stands for: its own bytes, or those that it is the hex or base64 of."""
    signed_timestamp: bool = False
    """The header is ``t=1614265330,v1=…[,v1=…]`` and the signed bytes are ``t``, a dot and the body (as Stripe's)."""
    tolerance_s: Annotated[int, Field(ge=1, le=3600)] = TOLERANCE_S
    """How far a signed timestamp may lie from our clock, both ways."""
    key_pointer: Pointer | None = None
    """The idempotency key; without it and ``key_header``, the SHA-256 of the body."""
    key_header: HeaderName | None = None
    """A header with the idempotency key. It isn't signed, so the same body under another key is a duplicate too."""
    type: Label | None = None
    """A fixed event type, for a sender that has but one."""
    type_header: HeaderName | None = None
    """A header with the event type, as GitHub's ``X-GitHub-Event``. It isn't signed, so it alone deletes nothing."""
    type_pointer: Pointer | None = None
    """The event type. Unset: ``/type``, else ``event.received``."""
    entity_type: Label | None = None
    """A fixed entity type."""
    entity_pointer: Pointer | None = None
    """The entity type. Unset: the event type's first segment."""
    id_pointer: Pointer | None = None
    """The entity's id. Unset: ``/data/id``, else the key: then each event is an entity of its own."""
    version_pointer: Pointer = "/data/updated_at"
    """The entity's version; where it is absent or null, the event counts from its arrival."""
    version_clock: Literal["time", "counter"] = "time"
    sequence_pointer: Pointer | None = None
    """A number that orders events of one version."""
    operation_pointer: Pointer | None = None
    """create, update or delete. Unset: by the event type's last segment."""
    data_pointer: Pointer | Literal[""] = ""
    """The sender's object; empty is the whole body."""
    reuses_ids: bool = False
    """Whether this sender gives a deleted id to a new entity."""
