"""The options of the kind ``hmac``: where a sender puts its signature, where its body says what, and who it is."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from app.sources.kinds import hmac_digest
from app.sources.kinds.fields import TOLERANCE_S, HeaderName, Label, Pointer
from app.sources.kinds.kind import Config

VendorName = Literal["stripe", "woocommerce", "github"]
STRIPE_HEADER, WOOCOMMERCE_HEADER, GITHUB_HEADER = "stripe-signature", "x-wc-webhook-signature", "x-hub-signature-256"
PRESETS: Mapping[VendorName, Mapping[str, Any]] = {
    "stripe": {"header": STRIPE_HEADER, "signed_timestamp": True, "key_pointer": "/id"},
    "woocommerce": {
        "header": WOOCOMMERCE_HEADER,
        "prefix": "",
        "encoding": "base64",
        "type_header": "x-wc-webhook-topic",
        "reuses_ids": True,
    },
    "github": {"header": GITHUB_HEADER, "type_header": "x-github-event", "key_header": "x-github-delivery"},
}
"""What a vendor fixes; what the user sets wins."""
_EITHER = (frozenset({"key_pointer", "key_header"}), frozenset({"type", "type_header", "type_pointer"}))
"""Options that say the same in different ways: with one of them set, none is preset."""
_BY_HEADER: Mapping[str, VendorName] = {STRIPE_HEADER: "stripe", WOOCOMMERCE_HEADER: "woocommerce"}


class HmacConfig(Config):
    """The options; every pointer is a JSON pointer (RFC 6901) into the body.

    ``model_fields_set`` has what the user set, which is also all that is stored; the vendor's presets aren't in it.
    """

    vendor: VendorName | None = None
    """Whose events these are: presets the options that the vendor fixes, and reads its topics by its catalogue. Unset:
    by the signature's header. Null: nobody's, whatever the header."""
    auth: Literal["hmac", "header", "url"] = "hmac"
    """How a request is verified: by an HMAC over its body; or by the secret itself, in ``header`` after ``prefix``, or
    in the URL's parameter ``secret``, which signs nothing."""
    header: HeaderName = GITHUB_HEADER
    prefix: Annotated[str, StringConstraints(max_length=50)] = "sha256="
    """What stands before the signature; not used with ``signed_timestamp``."""
    encoding: hmac_digest.Encoding = "hex"
    algorithm: hmac_digest.Algorithm = "sha256"
    secret_encoding: hmac_digest.SecretEncoding = "utf8"  # noqa: S105  # no secret
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
    trust_type_header: bool = False
    """Whether an unsigned event type alone may delete."""
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

    @model_validator(mode="after")
    def _preset(self) -> "HmacConfig":
        # Not by assignment, which would make them the user's own.
        told = self.model_fields_set
        vendor = self.vendor if "vendor" in told else _BY_HEADER.get(self.header)
        if vendor is not None:
            own = told.union(*(options for options in _EITHER if options & told))
            presets = {name: value for name, value in PRESETS[vendor].items() if name not in own}
            self.__dict__.update(presets, vendor=vendor)
        return self

    @property
    def may_be_github(self) -> bool:
        """Whether a request that says it is GitHub's is read so, although no vendor is set."""
        return self.vendor is None and self.header == GITHUB_HEADER and "vendor" not in self.model_fields_set
