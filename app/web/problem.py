"""The one form that every error of the HTTP API has: problem+json (RFC 9457)."""

import re

import orjson
from flask import Response, g, has_app_context

RETRY_AFTER_S = 2


def problem(status: int, name: str, detail: str) -> Response:
    """Return a problem+json answer; ``name`` is the error's, in words."""
    slug = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
    if has_app_context():
        g.problem = slug  # the reason under which the answer is counted
    title = slug.replace("-", " ").capitalize()
    body = {"type": f"/docs/problems#{slug}", "title": title, "status": status, "detail": detail}
    response = Response(orjson.dumps(body), status, content_type="application/problem+json")
    if status in {429, 503}:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:  # noqa: PLR2004  # RFC 9110, 11.6.1
        response.headers["WWW-Authenticate"] = "Bearer" if name == "KeyInvalid" else "Signature"
    return response
