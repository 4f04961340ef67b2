"""A shop that sends to a running system and waits for what becomes of it."""

import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import requests
from standardwebhooks import Webhook

from app.db.engine import transaction
from app.sources import configured
from tests.acceptance.conftest import System
from tests.support.factories import whsec


class Shop:
    """A sender of Standard Webhooks with a source of its own."""

    def __init__(self, system: System, limit: configured.Limit | None = None) -> None:
        self.system = system
        self.name = f"shop-{secrets.token_hex(4)}"
        self.secret = whsec()
        with transaction(system.engine) as session:
            configured.add(session, system.vault, self.name, "standard", self.secret, {})
            configured.limit(session, self.name, limit)

    def send(
        self, event_type: str, data: dict[str, Any], message_id: str | None = None, **more: str
    ) -> requests.Response:
        now = datetime.now(UTC)
        body = json.dumps({"type": event_type, "timestamp": now.isoformat(), "data": data})
        message_id = message_id or f"msg_{secrets.token_hex(8)}"
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self.secret).sign(message_id, now, body),
            **more,
        }
        return requests.post(f"{self.system.url}/webhooks/{self.name}", data=body, headers=headers, timeout=10)

    def event(self, response: requests.Response) -> dict[str, Any]:
        """Return the event once it has ended."""
        path = f"/v1/events/{response.json()['id']}"
        ended = {"completed", "failed"}
        found: dict[str, Any] = wait_for(lambda: self.system.get(path).json(), lambda event: event["status"] in ended)
        return found


def wait_for(look: Callable[[], Any], good: Callable[[Any], bool], timeout_s: float = 30) -> Any:
    deadline = time.monotonic() + timeout_s
    while not good(found := look()):
        assert time.monotonic() < deadline, f"still {found}"
        time.sleep(0.01)
    return found
