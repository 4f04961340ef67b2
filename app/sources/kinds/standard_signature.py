"""The signature scheme of Standard Webhooks 1.0: v1 (HMAC-SHA256) and v1a (ed25519) over id, time and raw body.

Source: the specification at standardwebhooks.com. The ``standardwebhooks`` package isn't used to verify: it raises
``ValueError`` and its like on malformed input, takes ``1_23`` for a timestamp and has no v1a. The tests sign with it.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.errors import SecretMissing
from app.sources.kinds import fields
from app.sources.kinds.kind import Outgoing, Request

SYMMETRIC, PUBLIC, PRIVATE = "whsec_", "whpk_", "whsk_"
FAMILY, SVIX = "webhook", "svix"
"""What the three headers' names begin with: the specification's, and those of Svix, which it came from."""
_PARTS = ("id", "timestamp", "signature")
_ED25519_BYTES = 32
_MOST_SIGNATURES = 10
"""An ed25519 check costs a hundred times an HMAC; a sender signs with a key or two."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """What a source's secrets verify with."""

    symmetric: tuple[bytes, ...] = ()
    public: tuple[Ed25519PublicKey, ...] = ()


def decoded(encoded: str) -> bytes | None:
    """Return base64 as its bytes, with or without padding; None where it isn't any."""
    bare = encoded.strip().rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def private_key(secret: str) -> Ed25519PrivateKey | None:
    """Return the key of ``whsk_`` and base64 of its 32 bytes, or of 64 with the public half behind them."""
    found = decoded(secret.strip().removeprefix(PRIVATE))
    if (
        not secret.strip().startswith(PRIVATE)
        or found is None
        or len(found) not in {_ED25519_BYTES, 2 * _ED25519_BYTES}
    ):
        return None
    return Ed25519PrivateKey.from_private_bytes(found[:_ED25519_BYTES])


def public_key(secret: str) -> Ed25519PublicKey | None:
    """Return the key of ``whpk_`` and base64, or the public half of a ``whsk_``."""
    if private := private_key(secret):
        return private.public_key()
    found = decoded(secret.strip().removeprefix(PUBLIC))
    if not secret.strip().startswith(PUBLIC) or found is None or len(found) != _ED25519_BYTES:
        return None
    return Ed25519PublicKey.from_public_bytes(found)


def split(secret: str) -> list[str]:
    """Return the secrets in a text of one or several with blanks between them."""
    found = secret.split()
    return found if all(one.startswith((SYMMETRIC, PUBLIC, PRIVATE)) for one in found) else [secret]


@lru_cache(256)
def read_keys(secrets: tuple[str, ...]) -> SigningKeys:
    """Return the keys in a source's secrets, each of which may be several with blanks between them."""
    every = [one.strip() for secret in secrets for one in split(secret)]
    public = [public_key(one) for one in every if one.startswith((PUBLIC, PRIVATE))]
    symmetric = [key for one in every if not one.startswith((PUBLIC, PRIVATE)) for key in _symmetric(one)]
    return SigningKeys(tuple(symmetric), tuple(key for key in public if key))


def _symmetric(secret: str) -> list[bytes]:
    """Return what a secret stands for: behind ``whsec_`` base64; without it base64 or the text itself, as Polar's."""
    found = decoded(secret.removeprefix(SYMMETRIC))
    keys = [] if found is None else [found]
    return keys if secret.startswith(SYMMETRIC) else [*keys, secret.encode("utf-8", "surrogatepass")]


def family(headers: Mapping[str, str]) -> str:
    """Return what the names of a request's three headers begin with: Svix's only where it has none of the others."""
    if any(f"{FAMILY}-{part}" in headers for part in _PARTS):
        return FAMILY
    return SVIX if any(f"{SVIX}-{part}" in headers for part in _PARTS) else FAMILY


def verify(request: Request, keys: SigningKeys, names: str = FAMILY) -> None:
    """Check ``webhook-signature`` over ``webhook-id``, ``webhook-timestamp`` and the raw body.

    ``names``: what stands for ``webhook`` in them.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    if not keys.symmetric and not keys.public:
        raise SecretMissing
    event_id, timestamp, signature = (fields.header(request, f"{names}-{part}") for part in _PARTS)
    entries = signature.split(b" ")[:_MOST_SIGNATURES]
    signed = b".".join((event_id, timestamp, request.body))
    if not _matches_public(entries, signed, keys.public):
        fields.require_match(
            [entry.removeprefix(b"v1,") for entry in entries if entry.startswith(b"v1,")],
            [_mac(key, signed) for key in keys.symmetric],
        )
    fields.require_recent(timestamp, request.received_at)


def _matches_public(entries: Sequence[bytes], signed: bytes, keys: Sequence[Ed25519PublicKey]) -> bool:
    for entry in entries if keys else ():
        if not entry.startswith(b"v1a,"):
            continue
        try:
            signature = base64.b64decode(entry.removeprefix(b"v1a,"), validate=True)
        except ValueError:
            continue
        for key in keys:
            try:
                key.verify(signature, signed)
            except InvalidSignature:
                continue
            return True
    return False


def _mac(key: bytes, signed: bytes) -> bytes:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256))


def sign(outgoing: Outgoing, key: bytes | Ed25519PrivateKey) -> dict[str, str]:
    """Return the three headers of the specification."""
    timestamp = str(int(outgoing.sent_at))
    signed = b".".join((outgoing.external_id.encode("utf-8", "surrogatepass"), timestamp.encode(), outgoing.body))
    if isinstance(key, bytes):
        signature = "v1," + _mac(key, signed).decode()
    else:
        signature = "v1a," + base64.b64encode(key.sign(signed)).decode()
    return {
        "webhook-id": fields.to_header(outgoing.external_id),
        "webhook-timestamp": timestamp,
        "webhook-signature": signature,
    }
