"""Owns what no log line may show: secrets, and who a person is. Pure.

A field goes by its name, a text by what it looks like: an exception's words come from a driver or a sender, and nobody
has read them before. Our own payloads are never logged; their secrets were redacted when they came in.
"""

import re
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

HIDDEN = "[redacted]"
_NAMES = re.compile(
    r"(?i)secret|passw|pepper|token|authori[sz]ation|credential|cookie|signature|api_?key|private"
    r"|^(?:payload|body|data|e?mail|phone|first_?name|last_?name|street|address_line|iban|card)$"
)
_TEXTS = (
    (re.compile(r"(\w+://[^\s:/@]*):[^\s@/]+@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"\b(?:whsec_|sk_|shpss_)[\w+/=-]{8,}"), HIDDEN),
    (re.compile(r"(?i)\b(password|passwd|secret|token|api_?key)(\s*[=:]\s*)[^\s,;)\"']+"), rf"\1\2{HIDDEN}"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "[email]"),
    (re.compile(r"(?<![\w+-])\+\d[\d ()/-]{7,}\d"), "[phone]"),
)
# PostgreSQL repeats the row that it refuses.
_ROW = re.compile(r"(?s)(Failing row contains |Key \([^)]*\)=)\(.*\)")
_DEPTH = 6


def redact(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return a log line without secrets and personal data: a processor of structlog."""
    for name, value in line.items():
        line[name] = HIDDEN if _NAMES.search(name) else redacted(value)
    return line


def redacted(value: Any, depth: int = _DEPTH) -> Any:
    """Return a value with whatever in it looks like a secret or a person replaced."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return (
            {
                key: HIDDEN if isinstance(key, str) and _NAMES.search(key) else redacted(one, depth - 1)
                for key, one in value.items()
            }
            if depth
            else HIDDEN
        )
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [redacted(one, depth - 1) for one in value] if depth else HIDDEN
    if isinstance(value, BaseException):
        return _text(repr(value))
    return value


def _text(text: str) -> str:
    text = _ROW.sub(rf"\1({HIDDEN})", text)
    for pattern, stands_in in _TEXTS:
        text = pattern.sub(stands_in, text)
    return text
