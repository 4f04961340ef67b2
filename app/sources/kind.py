"""Owns what a source kind is; each kind is one file beside this one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event to send as a real sender would: for ``tiercel send``, the demo and the tests."""

    external_id: str
    type: str
    body: bytes
    sent_at: float


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of sender."""

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
