"""Owns the strict reading of what senders send: secrets, headers and the few fields that an event needs.

Every reader refuses with a named error, whatever it is given; none of them guesses.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from pydantic import StringConstraints

from app.errors import FieldInvalid, SecretMissing, SignatureInvalid, SignatureMissing, TimestampOutsideTolerance
from app.events.incoming import JsonValue, Operation

if TYPE_CHECKING:
    from app.sources.kinds.kind import Request

MAX_CHARS = 512
MAX_LABEL_CHARS = 100
MAX_ID_BYTES = 500
"""Of an entity's id in UTF-8: it stands in several indexes, beside others."""
TOLERANCE_S = 300
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SEPARATORS = re.compile(r"[/: ]+")
# What a label can't hold, and what would read like the escape of it.
_ESCAPED = re.compile(r"[^A-Za-z0-9._-]|-(?=x[0-9A-F]{2})")
_LONGEST_VERB = 30
_INTEGER = re.compile(r"-?[0-9]+")
_UNIX_SECONDS = re.compile(rb"0|[1-9][0-9]{0,14}")
# C0, DEL and C1: not in a log line, not in PostgreSQL (NUL); and lone surrogates, which UTF-8 can't hold.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CREATED = frozenset({"create", "created"})
_DELETED = frozenset({"delete", "deleted", "remove", "removed"})
_UPDATED = frozenset({"update", "updated", "change", "changed", "modify", "modified", "edit", "edited"})

_POINTER_PATTERN = r"^(/([^/~]|~[01])*)+$"
_CURRENCY_PATTERN = r"^[A-Za-z]{3}$"
_HEADER_PATTERN = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
_LABEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

Pointer = Annotated[str, StringConstraints(pattern=_POINTER_PATTERN, max_length=200)]
"""An option that is a JSON pointer (RFC 6901) to a field."""
CurrencyCode = Annotated[str, StringConstraints(pattern=_CURRENCY_PATTERN, to_upper=True)]
"""An option that is an ISO 4217 code."""
Domain = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]+$", max_length=253, to_lower=True)]
HeaderName = Annotated[str, StringConstraints(pattern=_HEADER_PATTERN, max_length=100, to_lower=True)]
Label = Annotated[str, StringConstraints(pattern=_LABEL_PATTERN, max_length=100)]
PATTERNS = {
    _POINTER_PATTERN: "a JSON pointer, such as /data/id",
    _CURRENCY_PATTERN: "an ISO 4217 code, such as EUR",
    _HEADER_PATTERN: "a header's name, such as x-topic",
    _LABEL_PATTERN: "a name of letters, digits and . _ - that starts with a letter or digit, such as order.paid",
}
"""What a value must be, in words, by the pattern that it has to match."""


def usable(secrets: Sequence[str]) -> list[str]:
    """Return the secrets that aren't blank.

    Raises:
        SecretMissing: none is left; a source without a secret refuses everything.
    """
    found = [secret for secret in secrets if secret.strip()]
    if not found:
        raise SecretMissing
    return found


def to_bytes(text: str) -> bytes:
    """Return a header's own bytes: WSGI (PEP 3333) hands them over decoded as Latin-1."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def to_header(value: str) -> str:
    """Return a text as the header value whose own bytes are its UTF-8: the inverse of ``to_bytes``."""
    return value.encode("utf-8", "surrogatepass").decode("latin-1")


def header(request: "Request", name: str) -> bytes:
    """Return a header that carries a part of the signature.

    Raises:
        SignatureMissing: it is absent or empty.
    """
    value = request.headers.get(name)
    if not value:
        raise SignatureMissing(f"the header {name} is missing")
    return to_bytes(value)


def header_text(request: "Request", name: str) -> str:
    """Return a header that names something, as UTF-8 text.

    Raises:
        FieldInvalid: it is absent, not UTF-8, too long, or holds control characters.
    """
    try:
        return text(to_bytes(request.headers.get(name, "")).decode(), f"the header {name}")
    except UnicodeDecodeError:
        raise FieldInvalid(f"the header {name} isn't UTF-8") from None


def require_match(given: Iterable[bytes], expected: Iterable[bytes]) -> None:
    """Compare every given value with every expected one, in constant time, without stopping at the first match.

    Raises:
        SignatureInvalid: no pair is equal.
    """
    wanted = [hashlib.sha256(value).digest() for value in expected]
    matched = False
    for value in given:
        # Digests are compared: compare_digest alone would tell a static secret's length.
        digest = hashlib.sha256(value).digest()
        for other in wanted:
            matched |= hmac.compare_digest(digest, other)
    if not matched:
        raise SignatureInvalid


def require_recent(signed: bytes, received_at: float, tolerance_s: int = TOLERANCE_S) -> None:
    """Hold a signed Unix timestamp against our clock, both ways.

    Raises:
        SignatureInvalid: it isn't a plain integer.
        TimestampOutsideTolerance: it is further than ``tolerance_s`` seconds from ``received_at``.
    """
    if not _UNIX_SECONDS.fullmatch(signed):
        raise SignatureInvalid("the signed timestamp isn't an integer")
    if abs(received_at - int(signed)) > tolerance_s:
        raise TimestampOutsideTolerance


def text(value: JsonValue, field: str) -> str:
    """Return a text that names something: 1 to 512 characters, no control characters.

    Raises:
        FieldInvalid: it is anything else.
    """
    if not isinstance(value, str) or not value:
        raise FieldInvalid(f"{field} is missing" if value in (None, "") else f"{field} must be text")
    if len(value) > MAX_CHARS:
        raise FieldInvalid(f"{field} is longer than {MAX_CHARS} characters")
    if _CONTROL.search(value):
        raise FieldInvalid(f"{field} holds control characters")
    return value


def identifier(value: JsonValue, field: str) -> str:
    """Return an id as text, to the digit, from text or an integer.

    Raises:
        FieldInvalid: it is neither, or longer than 500 bytes.
    """
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        digits = str(value)
        if not _INTEGER.fullmatch(digits):
            raise FieldInvalid(f"{field} must be text or an integer")
        return entity_id(digits, field)
    if value is not None and not isinstance(value, str):
        raise FieldInvalid(f"{field} must be text or an integer")
    return entity_id(text(value, field), field)


def label(value: JsonValue, field: str) -> str:
    """Return a type's name: at most 100 letters, digits, dots, dashes and underscores.

    Raises:
        FieldInvalid: it is anything else.
    """
    name = text(value, field)
    if len(name) > MAX_LABEL_CHARS:
        raise FieldInvalid(f"{field} is longer than {MAX_LABEL_CHARS} characters")
    if not _LABEL.fullmatch(name):
        raise FieldInvalid(f"{field} may hold letters, digits, dots, dashes and underscores only")
    return name


def entity_id(value: str, field: str) -> str:
    """Return an entity's id.

    Raises:
        FieldInvalid: it is longer than 500 bytes.
    """
    if len(value.encode()) > MAX_ID_BYTES:
        raise FieldInvalid(f"{field} is longer than {MAX_ID_BYTES} bytes")
    return value


def topic_label(value: JsonValue, field: str) -> str:
    """Return a sender's name of a topic as a label: ``/``, ``:`` and spaces separate words, as dots do.

    At the ends they are left out. Every other character outside the alphabet becomes ``-x`` and the hex of its UTF-8,
    so that different topics never become one: ``account[requirements]`` is ``account-x5Brequirements-x5D``. A name
    that is too long is cut and has a digest.

    Raises:
        FieldInvalid: it isn't text, names nothing, or holds control characters.
    """
    if not isinstance(value, str) or not value:
        raise FieldInvalid(f"{field} is missing" if value in (None, "") else f"{field} must be text")
    if _CONTROL.search(value):
        raise FieldInvalid(f"{field} holds control characters")
    name = _SEPARATORS.sub(".", value.strip("/: "))
    if not name:
        raise FieldInvalid(f"{field} names nothing")
    if _LABEL.fullmatch(name) is None or "-x" in name:
        name = _ESCAPED.sub(lambda found: "".join(f"-x{byte:02X}" for byte in found[0].encode()), name)
        if not name[0].isalnum():
            name = f"x-x00{name}"  # no other name escapes a NUL
    if len(name) > MAX_LABEL_CHARS:
        verb = name.rpartition(".")[2]
        # Behind the escape of a NUL, so that no name that is short enough reads like one that was cut.
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        end = f"-x00{digest}" + (f".{verb}" if len(verb) <= _LONGEST_VERB else "")
        name = name[: MAX_LABEL_CHARS - len(end)] + end
    return name


def rfc3339(at: float) -> str:
    """Return Unix seconds as senders write them: UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def noun(event_type: str) -> str:
    """Return the entity type that an event type starts with: ``price`` of ``price.updated``."""
    return event_type.partition(".")[0].lower()


def operation(verb: str) -> Operation:
    """Return the operation that a verb, or an event type's last segment, names; any other verb updates."""
    last = verb.rpartition(".")[2].lower()
    if last in _CREATED:
        return Operation.CREATE
    return Operation.DELETE if last in _DELETED else Operation.UPDATE


def told_operation(value: JsonValue, field: str) -> Operation:
    """Return the operation that a field of the body tells.

    Raises:
        FieldInvalid: it is none of the words for create, update and delete.
    """
    told = text(value, field)
    if told.rpartition(".")[2].lower() not in _CREATED | _UPDATED | _DELETED:
        raise FieldInvalid(f"{field} is none of create, update and delete")
    return operation(told)
