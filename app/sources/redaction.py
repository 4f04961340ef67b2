"""Owns keeping a source's secrets out of what is stored and logged."""

import json
import re
from collections.abc import Sequence

from app.incoming import JsonValue
from app.jsontext import dump

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
