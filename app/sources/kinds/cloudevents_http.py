"""A CloudEvents event in its structured form, whichever content mode of the HTTP binding it came in.

Sources: https://github.com/cloudevents/spec at ce@v1.0.2, ``bindings/http-protocol-binding.md`` (here "HTTP") and
``formats/json-format.md`` (here "JSON"). tests/unit/test_cloudevents_clauses.py names each clause.
"""

import base64
import re
from codecs import BOM_UTF8
from dataclasses import replace
from urllib.parse import unquote_to_bytes

from app.errors import BodyMalformed, FieldInvalid
from app.events.incoming import JsonObject, JsonValue
from app.sources.kinds import bodies, fields, ndjson
from app.sources.kinds.kind import Request

STRUCTURED = "application/cloudevents+json"
_MEDIA_TYPE = "application/cloudevents"
_BATCH = "application/cloudevents-batch"
_REQUIRED = frozenset({"ce-specversion", "ce-id", "ce-source", "ce-type"})
_SILENT = frozenset({"text/plain", "application/octet-stream", bodies.FORM})
"""What HTTP clients send of their own accord; a JSON object under one of these is read as JSON."""
_NOT_ATTRIBUTES = frozenset({"data", "datacontenttype"})
_ATTRIBUTE = re.compile(r"[a-z0-9]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_JSON = re.compile(r"[^/;\s]+/(?:[^;\s]*\+)?json\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)
_TEXT = re.compile(r"text/.*|[^/;\s]+/(?:[^;\s]*\+)?xml", re.DOTALL)
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([\w.:-]*)"?\s*(?=;|$)', re.IGNORECASE)
_CODECS = {
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "iso-8859-15": "iso-8859-15",
    "windows-1252": "cp1252",
    "utf-16": "utf-16",
    "utf-16be": "utf-16-be",
    "utf-16le": "utf-16-le",
    "utf-32": "utf-32",
}
"""By name in lower case, those that senders use. Not any codec of Python's: some take quadratic time."""
_ARRAY = re.compile(rb"\s*\[")
_MOST_NAMED = 5


def is_binary(request: Request) -> bool:
    """Tell whether the attributes are in the headers (HTTP 3).

    Without any of the required headers the body is all there is, whatever its content type says.
    """
    return not ndjson.mimetype(request).startswith(_MEDIA_TYPE) and not _REQUIRED.isdisjoint(request.headers)


def elements(request: Request) -> list[bytes] | None:
    """Return a batch's events as they are written (JSON 4); None where the request brings one event.

    An array with something in it is a batch under the other media types, too.

    Raises:
        BodyMalformed: what says to be a batch isn't a JSON array.
    """
    says_so = ndjson.mimetype(request).startswith(_BATCH)
    if not says_so and (not _ARRAY.match(request.body.removeprefix(BOM_UTF8)) or is_binary(request)):
        return None
    raw = _utf8(request.body, request.headers.get("content-type", ""))
    found = ndjson.elements(raw)
    return found if found or says_so else None


def structured(request: Request) -> tuple[JsonObject, tuple[str, ...]]:
    """Return an event that is a JSON object, with its data as data (JSON 3.1.2), and what was left as it came.

    Raises:
        BodyMalformed: the body is no JSON object.
    """
    content_type = request.headers.get("content-type", "")
    body = _utf8(request.body, content_type)
    try:
        event, notes = bodies.read_object(request if body is request.body else replace(request, body=body))
    except BodyMalformed:
        mimetype = ndjson.mimetype(request)
        if mimetype.startswith(_MEDIA_TYPE) and mimetype not in {STRUCTURED, _MEDIA_TYPE}:
            raise BodyMalformed("of CloudEvents' event formats only JSON is read") from None
        raise
    return event, notes + _decode_data(event)


def _decode_data(event: JsonObject) -> tuple[str, ...]:
    """Put JSON that is in ``data_base64`` into ``data``; return a note where that can't be."""
    encoded = event.get("data_base64")
    if encoded is None:
        return ()
    if event.get("data") is not None:
        return ("the event has data and data_base64: data was read",)
    content_type = event.get("datacontenttype")
    if not says_json(content_type):
        return ()
    try:
        raw = base64.b64decode("".join(encoded.split()), validate=True)
        event["data"], notes = bodies.read(Request({}, _utf8(raw, content_type or ""), 0.0))
    except (AttributeError, ValueError, BodyMalformed):
        return ("data_base64 isn't JSON in base64, as datacontenttype says: it is kept as it came",)
    del event["data_base64"]
    return notes


def binary(request: Request) -> tuple[JsonObject, tuple[str, ...]]:
    """Return an event whose attributes are headers (HTTP 3.1) in its structured form, and what was left out.

    Raises:
        FieldInvalid: a header isn't UTF-8.
    """
    event: JsonObject = {}
    ignored = []
    for header, value in request.headers.items():
        if not header.startswith("ce-"):
            continue
        name = header.removeprefix("ce-")
        if name in _NOT_ATTRIBUTES or not _ATTRIBUTE.fullmatch(name):
            ignored.append(header)
        else:
            event[name] = _value(header, value)
    notes = _put_data(event, request)
    if ignored:
        more = "…" if len(ignored) > _MOST_NAMED else ""
        named = ", ".join(header[:50] for header in ignored[:_MOST_NAMED])
        notes += (f"headers that can't name an attribute were ignored: {named}{more}",)
    return event, notes


def _value(header: str, value: str) -> str:
    """Return the text that a header stands for: unquoted, then percent-decoded once (HTTP 3.1.3.2)."""
    if value.isascii() and "%" not in value and '"' not in value:
        return value
    quoted = _QUOTED.fullmatch(value)
    if quoted:
        value = _QUOTED_PAIR.sub(r"\1", quoted[1])
    try:
        return unquote_to_bytes(fields.to_bytes(value)).decode()
    except UnicodeDecodeError:
        raise FieldInvalid(f"the header {header} isn't UTF-8") from None


def _put_data(event: JsonObject, request: Request) -> tuple[str, ...]:
    """Put a body where its content type says (JSON 3.1.1): JSON and text into ``data``, else ``data_base64``."""
    content_type = request.headers.get("content-type", "").strip()
    json = says_json(content_type)
    if content_type:
        # What is read as JSON is no longer in any charset.
        event["datacontenttype"] = _CHARSET.sub("", content_type) if json else content_type
    raw = request.body
    if not raw or (json and raw.isspace()):
        return ()
    if json or ndjson.mimetype(request) in _SILENT:
        try:
            value, notes = bodies.read(replace(request, body=_utf8(raw, content_type)))
        except BodyMalformed:
            pass
        else:
            if json or isinstance(value, dict):
                event["data"] = value
                return notes
    text = _text(raw, content_type) if not json and _TEXT.fullmatch(ndjson.mimetype(request)) else None
    if text is None:
        event["data_base64"] = base64.b64encode(raw).decode()
    else:
        event["data"] = text
    return ("the data isn't JSON, as its content type says: it is kept as data_base64",) if json else ()


def says_json(content_type: JsonValue) -> bool:
    """Tell whether a content type declares JSON (JSON 3.1.1); none at all does."""
    if content_type in (None, "", "application/json"):
        return True
    return isinstance(content_type, str) and _JSON.fullmatch(content_type.strip()) is not None


def _utf8(raw: bytes, content_type: str) -> bytes:
    """Return JSON in UTF-8 where it is in another charset that its content type names.

    JSON is UTF-8, and a charset without effect (RFC 8259, 8.1 and 11): it counts only where the bytes aren't UTF-8.
    """
    charset = _CHARSET.search(content_type) if ";" in content_type else None
    codec = _CODECS.get(charset[1].lower()) if charset else None
    if codec is None or (b"\0" not in raw and _decoded(raw, "utf-8") is not None):
        return raw
    decoded = _decoded(raw, codec)
    return raw if decoded is None else decoded.encode()


def _text(raw: bytes, content_type: str) -> str | None:
    """Return data that is text, by its charset; None where it isn't."""
    charset = _CHARSET.search(content_type)
    text = _decoded(raw, _CODECS.get(charset[1].lower(), "utf-8") if charset else "utf-8")
    return None if text is None or "\0" in text else text


def _decoded(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None
