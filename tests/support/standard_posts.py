"""Bodies and headers as a sender of Standard Webhooks posts them, and the problems that come back."""

import json
from datetime import UTC, datetime

from standardwebhooks import Webhook
from werkzeug.test import TestResponse


def body(**data: object) -> str:
    timestamp = datetime.now(UTC).isoformat()
    return json.dumps({"type": "price.updated", "timestamp": timestamp, "data": {"id": "sku-1", **data}})


def signed(secret: str, text: str, message_id: str = "msg_1") -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, text),
    }


def problem(response: TestResponse) -> str:
    assert response.content_type == "application/problem+json"
    assert response.json is not None
    assert response.json["status"] == response.status_code
    return str(response.json["type"]).rpartition("#")[2]
