"""Owns keeping a source's secrets out of what is stored and logged."""

import json
import re
from collections.abc import Sequence
from urllib.parse import quote, quote_plus

from app.events.canonical_json import dump
from app.events.incoming import JsonValue

REDACTED = "[redacted]"


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


def redact_text(value: str, secrets: Sequence[str]) -> str:
    """Return a text with every occurrence of a secret replaced."""
    redacted: str = redact(value, secrets)
    return redacted


def redact_bytes(value: bytes, secrets: Sequence[str]) -> bytes:
    """Return bytes with every occurrence of a secret, as it is or as it stands in JSON or a form, replaced."""
    for secret in sorted({secret for secret in secrets if secret.strip()}, key=len, reverse=True):
        raw = secret.encode("utf-8", "surrogatepass")
        for form in (raw, json.dumps(secret)[1:-1].encode(), quote(raw, safe="").encode(), quote_plus(raw).encode()):
            value = value.replace(form, REDACTED.encode())
    return value
