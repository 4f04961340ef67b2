"""Owns what a source kind is; each kind is one file beside this one."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.events.incoming import Incoming, JsonObject, Version
from app.sources.kinds.fields import MAX_ID_BYTES
from app.sources.kinds.mapping import Rules


class Config(BaseModel):
    """The options of a source; a kind with options of its own extends it. Unknown options are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mapping: Rules = ()
    """Rules for topics that the kind doesn't know, or should read otherwise: ``app/sources/kinds/mapping.py``."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a sender sent, as bytes and headers."""

    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    received_at: float
    """Unix seconds at the last byte of the request, by our clock."""
    public_keys: Mapping[str, bytes] = field(default_factory=dict)
    """By path: the sender's public keys that the receiver fetched, of those that ``Kind.key_paths`` names."""
    digest: bytes | None = None
    """SHA-256 of the body as it was received, where ``body`` differs from it (a stored one is redacted)."""

    query: bytes = b""
    """Of the URL, as it came; of a stored request nothing is kept of it."""

    @property
    def body_sha256(self) -> str:
        """The SHA-256 of the body as it was received, in hex."""
        return hashlib.sha256(self.body).hexdigest() if self.digest is None else self.digest.hex()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified request's body, parsed and redacted, with the names that its sender gave it."""

    body: JsonObject
    topic: str
    """The sender's own name of what happened, as it wrote it; empty where it gave none."""
    type: str
    """The topic in normal form: ``noun.past-tense``; empty where there is none."""
    key: str
    """The sender's idempotency key of this delivery."""
    shared_key: bool = False
    """Whether deliveries about other entities carry the same key."""
    content_key: str | None = None
    """A second idempotency key over the content, where the first may change between attempts or isn't signed."""
    version: Version | None = None
    """When it happened, by what the delivery says of itself; None where it says nothing that can be read."""
    sequence: Decimal | None = None
    """What orders the deliveries of one version, where the sender says it beside the version."""
    delivery_fields: tuple[str, ...] = ()
    """Top-level fields that differ between attempts of one delivery."""
    notes: tuple[str, ...] = ()
    """What could not be understood and was left out."""
    topic_signed: bool = True
    """Whether the topic stands in what is signed; one that doesn't deletes nothing by itself."""

    @property
    def own_id(self) -> str:
        """The id of an event of this delivery that is an entity of its own."""
        key = self.key.encode("utf-8", "surrogatepass")
        return self.key if len(key) <= MAX_ID_BYTES else hashlib.sha256(key).hexdigest()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event to send as a real sender would: for ``tiercel send``, the demo and the tests."""

    external_id: str
    type: str
    body: bytes
    sent_at: float


@dataclass(frozen=True, slots=True)
class Hello:
    """A request that brings no event: what a vendor asks an endpoint before it sends any."""

    method: str
    headers: Mapping[str, str]
    """Names in lower case."""
    query: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The answer to a Hello."""

    headers: Mapping[str, str]
    text: str = ""


def no_query(_secret: str, _config: Any) -> Mapping[str, str]:
    """Bring nothing in the URL."""
    return {}


def no_greeting(_hello: Hello, _config: Any) -> Greeting | None:
    """Answer nothing but events."""
    return None


def no_batches(_request: Request, _config: Any) -> list[Request] | None:
    """Take one event a request."""
    return None


def no_keys(_request: Request) -> tuple[str, ...]:
    """Need no public key."""
    return ()


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of sender. What has a default is for the few whose protocol needs more than signed JSON."""

    name: str
    verify: Callable[[Request, Sequence[str], Any], None]
    """(request, valid secrets, config): over the raw bytes, in constant time. Raises SignatureInvalid or a child;
    nothing else, whatever the request holds. No secrets: SecretMissing."""
    open: Callable[[Request, Sequence[str], Any], Delivery]
    """(verified request, valid secrets for redaction, config): parse it. Raises BodyMalformed or FieldInvalid; nothing
    else."""
    interpret: Callable[[Delivery, Request, Any, str], Sequence[Incoming]]
    """(delivery, request, config, source name): the events in normal form, one for each entity that the body
    describes. Raises FieldInvalid; nothing else."""
    sign: Callable[[Outgoing, str, Any], dict[str, str]]
    """(outgoing, secret, config): the headers that the real sender would add."""
    check_secret: Callable[[str], None]
    """Raises ConfigInvalid where a secret can't be this kind's; never shows it."""
    config: type[Config] = Config
    retries_429: bool = True
    """Whether the real sender tries again after 429. Where not, a refusal for the rate is 503, with the same headers:
    no event may be lost for ever because there were too many at once."""
    reused_ids: frozenset[str] = frozenset()
    """The entity types whose deleted ids this sender gives to new entities: their deletes are never final."""
    split: Callable[[Request, Any], list[Request] | None] = no_batches
    """(verified request, config): a batch's events as requests to normalise one by one; None where it isn't a batch.
    Raises BodyMalformed or BodyTooLarge."""
    greet: Callable[[Hello, Any], Greeting | None] = no_greeting
    """(hello, config): the answer to a handshake, also to one that is POSTed unsigned; None where it isn't one. What
    it answers stores nothing, so anybody may ask."""
    headers: frozenset[str] = frozenset()
    """Headers besides Content-Type that say something about the event, in lower case; one that ends in ``*`` stands
    for all with that beginning. No other header of a delivery is stored."""
    header_options: tuple[str, ...] = ()
    """Options whose value is the name of another such header."""
    key_paths: Callable[[Request], tuple[str, ...]] = no_keys
    """The paths, on the one host this kind's keys come from, of the keys that a request says it is signed with."""
    accepted_status: int = 202
    """The HTTP status of an event that was kept."""
    drops_on_4xx: bool = False
    """Whether this sender never repeats what was answered 4xx: what may be temporary is then answered 503."""
    keeps_while_disabled: bool = False
    """Whether events are stored as quarantined while the source is disabled, since refusals would do harm."""
    query: Callable[[str, Any], Mapping[str, str]] = no_query
    """(secret, config): the parameters that the real sender's URL has."""
    refusals: str = "Each sender of this kind decides for itself how often it tries again."
    """What this sender does with refusals and when it gives up, in a sentence or two for operators."""
