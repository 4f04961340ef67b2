"""Deliveries of the vendors that the kind hmac knows by name."""

import json
from collections.abc import Mapping

from app.events.incoming import Incoming, JsonObject
from app.sources.kinds import Request
from app.sources.kinds.hmac import KIND
from app.sources.kinds.hmac_config import HmacConfig, VendorName
from app.sources.kinds.kind import Outgoing
from app.sources.kinds.read import read

SECRET = "it's a secret to everybody"
AT = 1_794_000_000.0
NAMES: tuple[VendorName, ...] = ("stripe", "woocommerce", "github")


def receive(
    body: JsonObject, headers: Mapping[str, str], config: HmacConfig, *, forged: Mapping[str, str] | None = None
) -> list[Incoming]:
    """Sign, verify and read a body; ``forged`` are headers that are changed under way."""
    raw = json.dumps(body).encode()
    signed = {config.header: KIND.sign(Outgoing("k", "x.y", raw, AT), SECRET, config)[config.header]}
    request = Request({**headers, **signed, **(forged or {})}, raw, AT)
    KIND.verify(request, [SECRET], config)
    parts = KIND.split(request, config)
    assert parts is None
    return list(read(KIND, request, [SECRET], config, "shop").events)
