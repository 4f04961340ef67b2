"""The deliveries in tests/fixtures, and how they are received and brought to normal form."""

import base64
from pathlib import Path

from app.events.incoming import Incoming, JsonObject
from app.sources.kinds import KINDS, Request
from app.sources.kinds.read import read

FIXTURES = Path(__file__).parent.parent / "fixtures"


def receive(kind_name: str, delivery: JsonObject) -> list[Incoming]:
    kind = KINDS[kind_name]
    body = base64.b64decode(delivery["body_base64"]) if "body_base64" in delivery else delivery["body"].encode()
    keys = {path: pem.encode() for path, pem in delivery.get("public_keys", {}).items()}
    request = Request(delivery["headers"], body, float(delivery["received_at"]), keys)
    config = kind.config.model_validate(delivery["config"])
    kind.verify(request, delivery["secrets"], config)
    parts = kind.split(request, config)
    return [
        event
        for part in ([request] if parts is None else parts)
        for event in read(kind, part, delivery["secrets"], config, "shop").events
    ]


def normal_form(incoming: Incoming) -> JsonObject:
    version = incoming.version
    return {
        **{name: getattr(incoming, name) for name in Incoming.__dataclass_fields__},
        "operation": incoming.operation.name,
        "version": version
        and {"order": format(version.order, "f"), "text": version.text, "clock": version.clock.value},
        "sequence": None if incoming.sequence is None else str(incoming.sequence),
        "delivery_fields": list(incoming.delivery_fields),
        "completeness": incoming.completeness.name.lower(),
        "notes": list(incoming.notes),
    }
