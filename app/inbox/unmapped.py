"""Unmapped events: what a verified sender sent and could not be read, kept as it came until it is released. Pure."""

import base64
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from app.errors import BodyMalformed
from app.events.canonical_json import digest, dump, parse_leniently
from app.events.incoming import Incoming, JsonObject, JsonValue, Operation
from app.inbox.ids import new_event_id
from app.inbox.prepare import Held, NewEvent, Raw, storable
from app.inbox.schedule import Schedule
from app.models import Lane, Outcome
from app.priority import Decision
from app.sources.kinds import Kind, Request
from app.sources.kinds.kind import Config, Delivery
from app.sources.kinds.redaction import redact_bytes

TYPE = "event.unmapped"
"""Of events whose sender's own type can't be read either."""
ENTITY_TYPE = "event"
_MOST_HEADER = 8_190
"""As many bytes as the server takes (app/gunicorn_conf.py)."""
_DECISION = Decision(Lane.LOW, 0, ("unmapped",))


def unmapped(  # noqa: PLR0913  # one event's facts
    request: Request,
    reason: str,
    *,
    kind: Kind,
    config: Config,
    secrets: Sequence[str],
    source: str,
    source_id: int,
    revision: int,
    delivery: Delivery | None = None,
    event_id: uuid.UUID | None = None,
    trace: str | None = None,
    disabled: bool = False,
) -> NewEvent:
    """Return what store keeps of a verified request that can't be read: the body as it came, but for the secrets.

    ``reason`` says what can't be read, with a pointer to it; ``delivery`` is the request as far as it could be parsed.
    The event is an entity of its own. It has a key of its own kind, so that the delivery's own key stays free for
    what it will be read as.
    """
    event_id = event_id or new_event_id()
    received = hashlib.sha256(request.body).digest()
    headers = kept_headers(request.headers, kind, config, secrets)
    body = redact_bytes(request.body, secrets)
    payload = dump(as_json(body))
    # With the body in it no two of these are ever in conflict: each is kept, and release finds whose key it is. What
    # isn't signed must not make the same body new: then the delivery has a key over its content, or isn't parsed.
    if delivery is not None:
        known: JsonValue = delivery.content_key or delivery.key
    else:
        known = None if getattr(config, "auth", "hmac") == "hmac" else headers
    key = digest(["unmapped", received.hex(), known])
    incoming = Incoming(
        source=source,
        external_id=key.hex(),
        type=(delivery and _redacted(delivery.type, secrets)) or TYPE,
        entity_type=ENTITY_TYPE,
        entity_id=str(event_id),
        operation=Operation.UPDATE,
        version=None,
        payload={},
    )
    return NewEvent(
        id=event_id,
        source_id=source_id,
        revision=revision,
        keys=(key,),
        fingerprint=received,
        payload=payload.decode(),
        incoming=incoming,
        decision=_DECISION,
        received_at=datetime.fromtimestamp(request.received_at, UTC),
        version=Decimal(int(request.received_at * 1_000_000)) / 1_000_000,
        held=Held(Outcome.UNMAPPED, storable(_redacted(reason, secrets))),
        final=False,
        schedule=Schedule(),
        trace=trace,
        raw=Raw(headers, body, received),
        while_disabled=disabled,
    )


def as_json(body: bytes) -> JsonValue:
    """Return a body as JSON: what it holds, or ``{"raw": "<base64>"}`` where it isn't JSON."""
    try:
        return parse_leniently(body)[0]
    except BodyMalformed:
        raw: JsonObject = {"raw": base64.b64encode(body).decode()}
        return raw


def kept_headers(headers: Mapping[str, str], kind: Kind, config: Config, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers that say something about an event, redacted and cut to what a header reasonably holds."""
    named = {getattr(config, option) for option in kind.header_options} | {"content-type"}
    exact = named | {name for name in kind.headers if not name.endswith("*")}
    beginnings = tuple(name[:-1] for name in kind.headers if name.endswith("*"))
    found = {
        name: value
        for name, value in headers.items()
        if (name in exact or (beginnings and name.startswith(beginnings))) and not _signs(name)
    }
    return {name: _header(value, secrets) for name, value in sorted(found.items())}


def _signs(name: str) -> bool:
    """Tell whether a header carries a signature or a secret rather than a meaning."""
    return name.endswith("token") or any(word in name for word in ("signature", "hmac", "secret", "authorization"))


def _header(value: str, secrets: Sequence[str]) -> str:
    # A header is bytes that WSGI hands over as Latin-1.
    return (
        redact_bytes(value.encode("latin-1", "replace"), secrets)[:_MOST_HEADER].decode("latin-1").replace("\x00", "?")
    )


def _redacted(text: str, secrets: Sequence[str]) -> str:
    return redact_bytes(text.encode("utf-8", "replace"), secrets).decode("utf-8", "replace")
