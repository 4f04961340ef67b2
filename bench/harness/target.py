"""Owns the running system that is measured: where it is, sources and keys of a run's own, and requests to its door."""

import base64
import http.client
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Engine

from app.db.engine import make_engine, transaction
from app.errors import TiercelError
from app.models import Scope
from app.security import api_keys
from app.security.vault import Vault
from app.sources import configured
from app.sources.kinds import KINDS
from app.sources.kinds.kind import Config, Outgoing
from config.settings import Settings, SettingsInvalid, load_settings

READY_S = 20.0
_TIMEOUT_S = 10.0
_PROBLEM = "application/problem+json"


class NotRunning(Exception):  # noqa: N818  # named for the fact, like every error here
    """The system that is to be measured doesn't run."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said; times by our monotonic clock."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    sent_at: float
    took_s: float
    resent: bool = False
    """Whether it answers a second try: the first one's answer never came."""

    def json(self) -> dict[str, Any]:
        """Return the body, a JSON object."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def title(self) -> str:
        """The problem's title, or the bare status."""
        if self.headers.get("content-type") == _PROBLEM:
            return str(self.json()["title"])
        return str(self.status)


class Door:
    """One keep-alive connection; for one thread."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> Answer:  # noqa: B006  # read only
        """Send a request and read its answer; once more on a new connection if this one was closed meanwhile.

        Raises:
            OSError, HTTPException: no answer came.
        """
        fresh = self._connection.sock is None
        try:
            return self._send(method, path, body, headers)
        except (http.client.HTTPException, OSError) as error:
            self._connection.close()
            if fresh or isinstance(error, TimeoutError):
                raise
            return replace(self._send(method, path, body, headers), resent=True)

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        began = time.monotonic()
        try:
            self._connection.request(method, path, body, dict(headers))
        except (BrokenPipeError, ConnectionResetError):
            if self._connection.sock is None or not body:
                raise
            # Refused before the body was through: the answer may stand there already.
        response = self._connection.getresponse()
        told = response.read()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, told, began, time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Sender:
    """One source as its sender knows it."""

    name: str
    kind: str
    secret: str
    config: Config

    def sign(self, external_id: str, event_type: str, body: bytes, sent_at: float) -> dict[str, str]:
        """Return the headers that a real sender of this kind would add; ``sent_at`` in Unix seconds."""
        return KINDS[self.kind].sign(Outgoing(external_id, event_type, body, sent_at), self.secret, self.config)


@dataclass(frozen=True, slots=True)
class Target:
    """A running system: its door over HTTP, and its database for what HTTP can't show in bulk."""

    host: str
    port: int
    engine: Engine
    vault: Vault
    settings: Settings

    @property
    def url(self) -> str:
        """Where the receiver listens."""
        return f"http://{self.host}:{self.port}"

    def door(self) -> Door:
        """Return a new connection to the receiver."""
        return Door(self.host, self.port)


def find_target() -> Target:
    """Return the system that the settings (of ``$TIERCEL_HOME/env`` too) lead to, once it is ready.

    Raises:
        NotRunning: says in one line what isn't there.
    """
    try:
        settings = load_settings()
        host = "127.0.0.1" if settings.bind in {"0.0.0.0", "::"} else settings.bind  # noqa: S104  # compared, not bound
        _await_ready(host, settings.port)
        return Target(host, settings.port, make_engine(settings.database_url), Vault(settings), settings)
    except (SettingsInvalid, TiercelError) as error:
        raise NotRunning(f"{error} Does TIERCEL_HOME name the running make up's?") from None


def _await_ready(host: str, port: int) -> None:
    end = time.monotonic() + READY_S
    while missing := _missing(host, port):
        if time.monotonic() > end:
            raise NotRunning(f"http://{host}:{port} isn't ready: no {', no '.join(missing)}")
        time.sleep(0.2)


def _missing(host: str, port: int) -> list[str]:
    url = f"http://{host}:{port}"
    try:
        with Door(host, port) as door:
            answer = door.send("GET", "/readyz")
    except (OSError, http.client.HTTPException):
        raise NotRunning(f"no receiver answers on {url}: start it with make up") from None
    try:
        checks: dict[str, str] = answer.json()["checks"]
    except (ValueError, KeyError, TypeError):
        raise NotRunning(f"what answers on {url} isn't Tiercel's receiver: start it with make up") from None
    return [name for name, word in checks.items() if word != "ok"]


@contextmanager
def senders(
    target: Target, wanted: Mapping[str, tuple[str, dict[str, Any]]]
) -> Iterator[tuple[dict[str, Sender], str]]:
    """Add sources (role -> kind, options) and a read key for one run; remove them at its end, events stay.

    Raises:
        NotRunning: the database refused.
    """
    run = f"{datetime.now(UTC):%m%d-%H%M%S}-{secrets.token_hex(2)}"
    made: dict[str, Sender] = {}
    try:
        with transaction(target.engine) as session:
            for role, (kind, options) in wanted.items():
                secret = new_secret(kind)
                configured.add(session, target.vault, f"{role}-{run}", kind, secret, options)
                config = configured.check_config(KINDS[kind], options)
                made[role] = Sender(f"{role}-{run}", kind, secret, config)
            key = api_keys.create(session, target.vault, f"bench {run}", Scope.READ)
    except TiercelError as error:
        raise NotRunning(f"the database can't be used: {error}") from None
    try:
        yield made, key
    finally:
        with transaction(target.engine) as session:
            for sender in made.values():
                configured.remove(session, sender.name)
            api_keys.revoke(session, api_keys.check(session, target.vault, key, Scope.READ).id)


def new_secret(kind: str) -> str:
    """Return a new secret as this kind's senders have them; one that is hex and base64, too, where they choose."""
    if kind == "standard":
        return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    return secrets.token_hex(32)
