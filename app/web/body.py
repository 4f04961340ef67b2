"""Reading the body of an HTTP request, whole or not at all."""

import contextlib

from flask import current_app, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

from app.errors import BodyMalformed, BodyTooLarge


def read_body() -> bytes:
    """Return the body of this request; it can be asked for again.

    Raises:
        BodyTooLarge, BodyMalformed: it is too large, or broken off.
    """
    most = current_app.config["MAX_CONTENT_LENGTH"]
    source = request.environ["wsgi.input"]
    try:
        body = request.get_data()
        # Of what comes in chunks werkzeug reads so much, and says nothing of the rest.
        if request.content_length is None and len(body) >= most and source.read(1):
            raise RequestEntityTooLarge
    except RequestEntityTooLarge:
        # Read on for a while: a connection closed on unread bytes would be reset before the sender sees the answer.
        with contextlib.suppress(OSError, ParseException):
            source.read(2 * most)
        raise BodyTooLarge(f"the body may have {most:,} bytes at most") from None
    except (OSError, ParseException) as error:
        # gunicorn's way to say that the chunks of a body aren't chunks, or that the sender is gone.
        raise BodyMalformed("the body can't be read") from error
    if len(body) < (request.content_length or 0):
        raise BodyMalformed("the body ended early")
    return body
