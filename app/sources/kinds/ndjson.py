"""Batches: how many events a request may bring, NDJSON (one event a line, as bulk re-syncs send it), JSON arrays."""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator

from app.errors import BodyMalformed, BodyTooLarge
from app.events.canonical_json import dump, parse_leniently
from app.sources.kinds.kind import Request

CONTENT_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
_LINES = re.compile(rb"\s*+\{[^\n]*\}[ \t\r]*\n\s*+\{[ \t]*\"")
"""The first two lines of NDJSON: an object each."""
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
MOST_EVENTS = 500
"""They are stored in one transaction, while other requests wait for theirs."""


def mimetype(request: Request) -> str:
    """Return the content type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_count(count: int) -> None:
    """Hold a batch to its size.

    Raises:
        BodyTooLarge: it has too many events.
    """
    if count > MOST_EVENTS:
        raise BodyTooLarge(f"a batch may have {MOST_EVENTS} events at most")


def split(request: Request, key_header: str | None) -> list[Request] | None:
    """Return each line of NDJSON that isn't blank, or each element of a JSON array, as a request of its own.

    They are known by their looks, too: not every client says what it sends.

    None where the body is neither, or an array with nothing in it. Where the key is a header, an event's is that and
    its number, so a repeated message is known event by event.

    Raises:
        BodyTooLarge: see ``check_count``.
    """
    body = request.body.removeprefix(BOM_UTF8)
    if mimetype(request) in CONTENT_TYPES or _LINES.match(body):
        found = [line for line in body.split(b"\n") if line.strip()]
    elif body.lstrip()[:1] == b"[":
        try:
            found = elements(request.body)
        except BodyMalformed:
            return None
        if not found:
            return None
    else:
        return None
    check_count(len(found))
    headers = {**request.headers, "content-type": "application/json"}  # each by itself is no batch any more
    key = None if key_header is None else headers.get(key_header)
    return [
        # Not dataclasses.replace: such copies were 15 % of the time it took to prepare an event.
        Request(
            headers if key is None else {**headers, str(key_header): f"{key}.{number}"},
            line,
            request.received_at,
            request.public_keys,
        )
        for number, line in enumerate(found, 1)
    ]


def elements(raw: bytes) -> list[bytes]:
    """Return the elements of a JSON array, also those that can't be read by themselves.

    Raises:
        BodyMalformed: it isn't one.
    """
    try:
        value, replaced = parse_leniently(raw)
    except BodyMalformed:
        return list(_written(raw))
    if not isinstance(value, list):
        raise BodyMalformed("a batch must be a JSON array")
    # As it was written where something was replaced, so that each element has its own note.
    return list(_written(raw)) if replaced else [dump(element) for element in value]


def _written(raw: bytes) -> Iterator[bytes]:
    """Yield the elements of a JSON array, also those that can't be read."""
    raw = raw.removeprefix(BOM_UTF8)
    depth = start = end = 0
    for token in _TOKEN.finditer(raw):
        kind = token[0][:1]
        if depth == 0 and (kind != b"[" or raw[: token.start()].strip()):
            break
        if kind in b"[{":
            depth += 1
            start = token.end() if depth == 1 else start
        elif kind in b"]}":
            depth -= 1
        if (kind == b"," and depth == 1) or (kind == b"]" and depth == 0):
            yield raw[start : token.start()].strip()
            start = token.end()
        if depth == 0:
            end = token.end() if kind == b"]" else 0
            break
    if not end or raw[end:].strip():
        raise BodyMalformed("a batch must be a JSON array")
