"""One CloudEvents event about a lamp, as a sender sends it, and what our kind makes of it."""

import base64
import json
from types import SimpleNamespace
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from app.events.incoming import Incoming
from app.sources.kinds import Request
from app.sources.kinds.cloudevents import KIND
from app.sources.kinds.read import read
from app.web.factory import add_routes
from app.web.webhooks.receiver import Receipt

TOKEN = "a token for the lamps"
AT = 1_794_000_000.0
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "n-1",
    "source": "/lamps",
    "type": "lamp.price.updated",
    "subject": "L-7",
    "time": "2026-11-06T21:19:30Z",
    "data": {"amount": "24.50"},
}
HEADERS = {f"ce-{name}": value for name, value in EVENT.items() if name != "data"}


def events(headers: dict[str, str], body: bytes, **options: Any) -> list[Incoming]:
    """Return what a request brings."""
    config = KIND.config.model_validate(options)
    request = Request({"authorization": f"Bearer {TOKEN}", **headers}, body, AT)
    parts = KIND.split(request, config)
    return [
        event
        for part in ([request] if parts is None else parts)
        for event in read(KIND, part, [TOKEN], config, "shop").events
    ]


def structured(options: Any = None, without: str = "", **attributes: Any) -> Incoming:
    """Return what the event in structured mode comes to, with these attributes changed and one left out."""
    made = {name: value for name, value in (EVENT | attributes).items() if name != without}
    (event,) = events({"content-type": STRUCTURED}, json.dumps(made).encode(), **(options or {}))
    return event


def binary(body: Any = b"{}", content_type: Any = "application/json", options: Any = None, **more: Any) -> Incoming:
    """Return what the event in binary mode comes to, with these headers changed; ``a_b`` is ``ce-a-b``."""
    headers = HEADERS | {f"ce-{name.replace('_', '-')}": value for name, value in more.items()}
    if content_type is not None:
        headers["content-type"] = content_type
    (event,) = events(headers, body, **(options or {}))
    return event


def b64(raw: bytes) -> str:
    """Return bytes as ``data_base64`` has them."""
    return base64.b64encode(raw).decode()


def routes() -> Flask:
    """Return an application with every route and nothing behind it."""
    flask_app = Flask("routes", static_folder=None)
    add_routes(flask_app)
    return flask_app


class Door:
    """A receiver that only looks at what it is given."""

    def __init__(self) -> None:
        self.given: list[Request] = []
        self.limits = SimpleNamespace(charge_failure=print)

    def endpoint(self, _name: str, _fails: object) -> SimpleNamespace:
        """Return a source of this kind."""
        return SimpleNamespace(kind=KIND, config=KIND.config())

    def accept(self, _endpoint: object, request: Request, _fails: object) -> Receipt:
        """Keep nothing."""
        self.given.append(request)
        return Receipt((), batch=True)


def posted(body: bytes, headers: dict[str, str], query: str = "") -> tuple[TestResponse, Request]:
    """Return the answer to a request, and what the receiver was given."""
    flask_app, door = routes(), Door()
    flask_app.config["MAX_CONTENT_LENGTH"] = 1_000_000
    flask_app.extensions["receiver"] = door
    answer = flask_app.test_client().post(f"/webhooks/lamps{query}", data=body, headers=headers)
    return answer, door.given[0]
