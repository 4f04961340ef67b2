"""Owns the header Idempotency-Key on the API's POSTs: asked again, a request is answered and not done again.

After the IETF's draft "The Idempotency-Key HTTP Header Field". On ``POST /v1/events`` it is the event's own.
"""

import re

import structlog
from flask import Flask, Response, g, request

from app.db.engine import transaction
from app.errors import FieldInvalid, TiercelError
from app.security import idempotency
from app.security.idempotency import Asked, StoredAnswer
from app.web.body import read_body
from app.web.webhooks.receiver import receiver

HEADER = "Idempotency-Key"
OWN = "desk_events.post_event"
"""The endpoint whose key is its event's."""
_FORM = re.compile(r"[\x21-\x7e]{1,255}")
_LOG = structlog.get_logger()
_RETRIED = 500
"""From this status on a request is to be tried again."""
_LIMITED = 429


def key() -> str | None:
    """Return the key of this request, if it has one.

    Raises:
        FieldInvalid: it isn't 1 to 255 visible ASCII characters.
    """
    given = request.headers.get(HEADER)
    if given is not None and not _FORM.fullmatch(given):
        raise FieldInvalid(f"{HEADER} is 1 to 255 visible ASCII characters")
    return given


def begin(key_id: int, *, reads: bool) -> Response | None:
    """Return the answer that this request got before; None where it is to be done now.

    What only ``reads`` is harmless anyway, and nobody who may only read shall make us keep something.

    Raises:
        FieldInvalid, IdempotencyKeyReused, IdempotencyKeyInUse: the key can't be one, or can't be this request's.
    """
    if request.method != "POST" or request.endpoint == OWN or reads:
        return None
    given = key()
    if given is None:
        return None
    asked = Asked.of(receiver().vault, key_id, given, b"\0".join((request.full_path.encode(), read_body())))
    with transaction(receiver().resources.engine) as session:
        before = idempotency.begin(session, receiver().vault, asked)
    if before is None:
        g.asked = asked
        return None
    kind = "application/json" if before.status < 400 else "application/problem+json"  # noqa: PLR2004  # RFC 9110
    return Response(before.body, before.status, {"Idempotency-Replayed": "true"}, content_type=kind)


def keep_answers(flask_app: Flask) -> None:
    """Keep what requests with a key are answered; what is to be tried again is forgotten."""

    @flask_app.after_request
    def _keep(response: Response) -> Response:
        asked: Asked | None = g.pop("asked", None)
        if asked is None:
            return response
        try:
            with transaction(receiver().resources.engine) as session:
                if response.status_code >= _RETRIED or response.status_code == _LIMITED:
                    idempotency.drop(session, asked)
                else:
                    answer = StoredAnswer(response.status_code, response.get_data())
                    idempotency.keep(session, receiver().vault, asked, answer)
        except TiercelError as error:
            # What was done is done; the same request within a minute is told that it is under way.
            _LOG.warning("an answer can't be kept", action="answer_unkept", error=repr(error))
        return response
