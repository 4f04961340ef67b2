"""Owns what a source kind is; each kind is one file beside this one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.incoming import Incoming


class Config(BaseModel):
    """The options of a source; a kind with options of its own extends it. Unknown options are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


@dataclass(frozen=True, slots=True)
class Greeting:
    """The answer to a Hello."""

    headers: Mapping[str, str]
    text: str = ""


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
    normalise: Callable[[Request, Sequence[str], Any, str], Incoming]
    """(request, valid secrets for redaction, config, source name). Raises BodyMalformed or FieldInvalid; nothing
    else."""
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
    content_types: frozenset[str] = frozenset()
    """Those it sends besides application/json and application/…+json."""
    split: Callable[[Request, Any], list[Request] | None] = no_batches
    """(verified request, config): a batch's events as requests to normalise one by one; None where it isn't a batch.
    Raises BodyMalformed or BodyTooLarge."""
    greet: Callable[[Hello, Any], Greeting | None] = no_greeting
    """(hello, config): the answer to a handshake; None where this kind has none of that method."""
    key_paths: Callable[[Request], tuple[str, ...]] = no_keys
    """The paths, on the one host this kind's keys come from, of the keys that a request says it is signed with."""
    accepted_status: int = 202
    """The HTTP status of an event that was kept."""
    drops_on_4xx: bool = False
    """Whether this sender never repeats what was answered 4xx: what may be temporary is then answered 503."""
