"""Owns keeping a source's secrets out of what is stored and logged."""

import json
import re
from collections.abc import Sequence
from functools import lru_cache

from app.events.canonical_json import dump
from app.events.incoming import JsonValue

REDACTED = "[redacted]"
_SHORTEST = 8
_PIECE = re.compile(r"\\+|[^\\]", re.DOTALL)
_MOST_SLASHES = 16
_SLASHES = rb"\\{1,15}"
"""Before an escape, also in JSON inside JSON inside JSON. Unbounded, a body of backslashes would take minutes."""
_ESCAPED = {'"': b'"', "/": b"/", "\b": b"b", "\f": b"f", "\n": b"n", "\r": b"r", "\t": b"t"}
"""What JSON may write as a backslash and a letter (RFC 8259, section 7)."""


def redact(value: JsonValue, secrets: Sequence[str]) -> JsonValue:
    """Return JSON with every occurrence of a secret, in any text or key, replaced by ``[redacted]``."""
    # As it is, and as it stands inside a JSON text that is itself a string. Longest first: one may start another.
    forms = {form for secret in secrets if secret.strip() for form in (secret, json.dumps(secret)[1:-1])}
    written = dump(value) if forms else b""
    # Escaping goes character by character, so what stands in a text stands in its JSON, escaped. Mostly nothing does.
    if not any(dump(form)[1:-1] in written for form in forms):
        return value
    return _redact(value, re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))))


def _redact(value: JsonValue, pattern: re.Pattern[str]) -> JsonValue:
    if isinstance(value, str):
        return pattern.sub(REDACTED, value)
    if isinstance(value, dict):
        return {pattern.sub(REDACTED, key): _redact(item, pattern) for key, item in value.items()}
    return [_redact(item, pattern) for item in value] if isinstance(value, list) else value


def redact_bytes(value: bytes, secrets: Sequence[str]) -> bytes:
    """Return bytes with every occurrence of a secret replaced, however JSON, URLs and forms may write it.

    Where a secret holds several, separated by spaces, each is replaced; so is one without its prefix ``whsec_``.
    """
    pattern = _written(tuple(secrets))
    return value if pattern is None else pattern.sub(REDACTED.encode(), value)


@lru_cache(maxsize=256)
def _written(secrets: tuple[str, ...]) -> re.Pattern[bytes] | None:
    words = {secret for secret in secrets if secret.strip()}
    parts = {part for secret in words for part in secret.split()}
    words |= {word for part in parts for word in (part, part.removeprefix("whsec_")) if len(word) >= _SHORTEST}
    patterns = [b"".join(map(_pattern, _PIECE.findall(word))) for word in sorted(words, key=len, reverse=True)]
    return re.compile(b"|".join(patterns)) if patterns else None


def _pattern(piece: str) -> bytes:
    """Return a pattern for a character: itself, escaped in JSON (also inside a JSON text), percent-encoded.

    Backslashes in a row have one pattern: with one for each, a run in a body could be divided in too many ways.
    """
    char, count = piece[0], len(piece)
    raw, units = char.encode("utf-8", "surrogatepass"), char.encode("utf-16-be", "surrogatepass")
    escaped = b"".join(
        _SLASHES + b"u(?i:" + units[at : at + 2].hex().encode() + b")" for at in range(0, len(units), 2)
    )
    percent = b"".join(b"%(?i:" + bytes([byte]).hex().encode() + b")" for byte in raw)
    if char == "\\":
        forms = [
            rb"\\{%d,%d}" % (count, _MOST_SLASHES * count),
            *(b"(?:%b){%d}" % (one, count) for one in (escaped, percent)),
        ]
    else:
        forms = [re.escape(raw), escaped, percent]
        if char in _ESCAPED:
            forms.append(_SLASHES + re.escape(_ESCAPED[char]))
        if char == " ":
            forms.append(rb"\+")
    return b"(?:" + b"|".join(forms) + b")"
