"""Adobe I/O Events' signatures, and whom the signed events are for.

Source: developer.adobe.com/events, "Signature verification".
"""

import base64
import binascii
import hashlib
import hmac
import re
from functools import lru_cache

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from app.errors import BodyMalformed
from app.events.canonical_json import parse_leniently
from app.events.incoming import JsonValue
from app.sources.kinds import fields
from app.sources.kinds.kind import Request

HMAC = "x-adobe-signature"
"""The header of the older signature."""
PAIRS = tuple((f"x-adobe-digital-signature-{n}", f"x-adobe-public-key{n}-path") for n in (1, 2))
"""The headers of each digital signature and of its key's path."""
_PATH = re.compile(r"/prod/keys/pub-key-[A-Za-z0-9_-]{1,64}\.pem", re.ASCII)
_RECIPIENT = ("recipientclientid", "recipient_client_id")


def key_paths(request: Request) -> tuple[str, ...]:
    """Return the paths of the keys that a request is signed with: those of Adobe's own form, and no others."""
    named = [request.headers.get(path, "") for signature, path in PAIRS if request.headers.get(signature)]
    return tuple(dict.fromkeys(path for path in named if _PATH.fullmatch(path)))


@lru_cache(64)
def read_key(pem: bytes) -> RSAPublicKey | None:
    """Return an RSA public key of a PEM text, or None where it holds none."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) else None


def is_adobes(request: Request) -> bool:
    """Tell whether one of the two digital signatures holds."""
    for header, path in PAIRS:
        key = read_key(request.public_keys.get(request.headers.get(path, ""), b""))
        if key is None:
            continue
        try:
            signature = base64.b64decode(fields.to_bytes(request.headers.get(header, "")), validate=True)
            key.verify(signature, request.body, PKCS1v15(), SHA256())
        except (binascii.Error, ValueError, InvalidSignature):
            continue
        return True
    return False


def is_for(raw: bytes, client_id: str, *, strictly: bool) -> bool:
    """Tell whether every event of a body names this client as its recipient.

    Of an event in the wrapped form only what Adobe wrote around it counts: what is inside is the provider's. Where
    not ``strictly``, an event may name nobody.
    """
    try:
        found = orjson.loads(raw)
    except ValueError:
        try:
            found, _ = parse_leniently(raw)  # reads what orjson refuses: a byte order mark, half an emoji
        except BodyMalformed:
            found = []
    events = found if isinstance(found, list) else [found]
    return all(_names(event, client_id, strictly) for event in events) and bool(events or not strictly)


def _names(event: JsonValue, client_id: str, strictly: bool) -> bool:  # noqa: FBT001  # private
    told = [event.get(name) for name in _RECIPIENT] if isinstance(event, dict) else []
    named = [name for name in told if isinstance(name, str) and name]
    return all(_same(name, client_id) for name in named) and bool(named or not strictly)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def older(body: bytes, secret: str) -> bytes:
    """Return the older signature: base64 HMAC-SHA256 under the client secret."""
    return base64.b64encode(hmac.digest(secret.encode("utf-8", "surrogatepass"), body, hashlib.sha256))
