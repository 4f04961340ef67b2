"""Bodies that nobody would think of: any JSON, any text, any bytes, from a seed. Pure."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from bench.soak.bodies import BODIES

_NAMES = (
    *(
        "id",
        "type",
        "data",
        "topic",
        "scope",
        "subject",
        "payload",
        "object",
        "updated_at",
        "created_at",
        "time",
        "sku",
    ),
    *("value", "source", "specversion", "eventid", "triggered_by", "orderId", "admin_graphql_api_id", "mapping", ""),
)
_TEXTS = (
    *("price.updated", "store/product/deleted", "products/update", "com.adobe.commerce.observer.x_save_after", "1.0"),
    *("2026-11-06T21:20:00Z", "", "\x00", "\ud83d", "é" * 300, "a" * 600, "[redacted]", "../..", "%00", "{", "[]"),
)
CONTENT_TYPES = (
    *("application/json", "application/x-www-form-urlencoded", "application/x-ndjson", "text/xml; charset=utf-16", ""),
    *("application/cloudevents+json", "application/cloudevents-batch+json", "multipart/form-data; boundary=x"),
)
_FORMS = (b"payload=%7B%7D", b"a=1&a=2&b[c]=3&b[d][]=4", b"webhook_id=7&x", b"&&==", b"payload=%7B%22id%22%3A1%7D")


def json_value(dice: Random, depth: int = 4) -> Any:
    """Return any JSON value."""
    kind = dice.randrange(9 if depth else 6)
    if kind >= 7:
        return {_name(dice): json_value(dice, depth - 1) for _ in range(dice.randrange(7))}
    if kind == 6:
        return [json_value(dice, depth - 1) for _ in range(dice.randrange(4))]
    leaves = (
        None,
        dice.random() < 0.5,
        dice.randrange(-(2**70), 2**70),
        dice.random() * 1e9,
        _text(dice),
        _text(dice),
    )
    return leaves[kind]


def _name(dice: Random) -> str:
    return dice.choice(_NAMES) if dice.random() < 0.8 else _text(dice)


def _text(dice: Random) -> str:
    if dice.random() < 0.5:
        return dice.choice(_TEXTS)
    return "".join(
        chr(dice.choice((dice.randrange(0x80), dice.randrange(0x110000)))) for _ in range(dice.randrange(20))
    )


def body(dice: Random) -> bytes:
    """Return any body of a request."""
    kind = dice.randrange(10)
    if kind < 6:
        return json.dumps({_name(dice): json_value(dice) for _ in range(dice.randrange(8))}).encode()
    if kind == 6:
        return json.dumps(json_value(dice)).encode()
    if kind == 7:
        return _text(dice).encode("utf-8", "surrogatepass") * dice.randrange(4)
    return dice.choice(_FORMS) if kind == 8 else dice.randbytes(dice.randrange(200))


def mutations(raw: bytes, dice: Random, count: int) -> Iterator[bytes]:
    """Yield ``count`` mutations of a body: of its fields where it is a JSON object, else of its bytes."""
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    ways = [way for name, way in BODIES.items() if name != "big"]
    for _ in range(count):
        if isinstance(found, dict) and found:
            yield dice.choice(ways)(dice, found)
            continue
        changed = bytearray(raw or b" ")
        for _ in range(dice.randrange(1, 6)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        yield bytes(changed)
