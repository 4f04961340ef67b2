"""Owns the making of an HMAC as a header carries it: any algorithm, secret and encoding that senders use."""

import base64
import hmac
from typing import Literal

Algorithm = Literal["sha1", "sha256", "sha512"]
"""SHA-1 under an HMAC is not broken (RFC 6194, 3.3); some senders, such as Segment, offer nothing else."""
Encoding = Literal["hex", "base64"]
SecretEncoding = Literal["utf8", "hex", "base64"]


def key(secret: str, encoding: SecretEncoding = "utf8") -> bytes:
    """Return the key that a secret stands for; empty where it isn't what its encoding says."""
    if encoding == "utf8":
        return secret.encode("utf-8", "surrogatepass")
    try:
        return bytes.fromhex(secret.strip()) if encoding == "hex" else base64.b64decode(secret.strip(), validate=True)
    except ValueError:
        return b""


def written(key: bytes, signed: bytes, algorithm: Algorithm, encoding: Encoding) -> bytes:
    """Return the HMAC over some bytes as text."""
    mac = hmac.digest(key, signed, algorithm)
    return mac.hex().encode() if encoding == "hex" else base64.b64encode(mac)


def given(value: bytes, prefix: str, encoding: Encoding) -> list[bytes]:
    """Return the signature in a header's value; none where the prefix isn't there. Hex may be in capitals."""
    start = prefix.encode("utf-8", "surrogatepass")
    found = [value.removeprefix(start)] if value.startswith(start) else []
    return [signature.lower() for signature in found] if encoding == "hex" else found
