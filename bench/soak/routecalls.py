"""Owns the made-up calls of every route: paths, queries, headers, keys and bodies that nobody should send. Pure."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from random import Random
from typing import Any
from urllib.parse import quote_from_bytes

import orjson
from flask import Flask

from app.models import Scope
from app.web.factory import add_routes
from app.web.openapi import document as openapi
from bench.soak.call import Call, Headers


class Who(Enum):
    """With what key a call is made."""

    NOBODY = "no key"
    WRONG = "wrong key"
    REVOKED = "revoked key"
    READ = "read key"
    LIMITED = "read key of one source"


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the OpenAPI document."""

    method: str
    path: str
    scope: Scope | None
    """None: it needs no key."""
    queries: tuple[str, ...]
    body: Any
    """The JSON schema of its body, or None."""

    def may(self, who: Who) -> bool:
        """Tell whether a caller could ever get more than a refusal here."""
        return self.scope is None or (self.scope is Scope.READ and who in {Who.READ, Who.LIMITED})


@dataclass(frozen=True, slots=True)
class Asking:
    """One call, and what it was made for."""

    call: Call
    route: Route
    who: Who


_ODD = (
    *(
        b"",
        b"0",
        b"-1",
        b"1",
        b"7",
        b"2147483647",
        b"2147483648",
        b"00000000001" + b"9" * 20,
        b"9" * 400,
        b"1e9",
        b"NaN",
    ),
    *(
        b"\x00",
        b"a\x00b",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xe2\x80\xae",
        b"\xf0\x9f\x92\xb8",
        b"\xd9\xa1",
        b"\r\nX: y",
    ),
    *(
        b"..",
        b"../../etc/passwd",
        b"%2e%2e%2f",
        b"'; DROP TABLE event; --",
        b"<script>",
        b"{{7*7}}",
        b"${jndi:x}",
        b"|id",
    ),
    *(b"high", b"read", b"live", b"*", b"null", b"true", b"a" * 600, b"2026-01-01", b"0001-01-01T00:00:00+23:59"),
    *(b"9999-12-31T23:59:59-23:59", b"2026-13-45", b"AAAA", b"W10", b"WzFd", b"eyJ9", b"first-party", b"problems"),
)
_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND", b"get")
_TYPES = (
    b"application/json",
    b"application/json; charset=utf-16",
    b"text/plain",
    b"",
    b"application/x-www-form-urlencoded",
)
_HEADERS = (
    *(
        b"Idempotency-Key",
        b"If-Match",
        b"If-None-Match",
        b"Range",
        b"Cookie",
        b"Accept",
        b"Accept-Encoding",
        b"Origin",
    ),
    *(b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Prefix", b"Forwarded", b"Via"),
    *(b"SCRIPT_NAME", b"PATH_INFO", b"REMOTE_ADDR", b"X_FORWARDED_FOR", b"X-HTTP-Method-Override", b"X-Original-URL"),
    *(b"Upgrade", b"Connection", b"Trailer", b"traceparent", b"Referer", b"User-Agent", b"Content-Encoding"),
)
_HEADER_VALUES = (
    *(b"", b"*", b"x", b'W/"1"', b'"1"', b"bytes=0-1,5-9", b"a=b; c=d", b"127.0.0.1", b"::1, 10.0.0.1", b"/livez"),
    *(
        b"DELETE",
        b"\xff\xfe",
        b"y" * 2_000,
        b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
        b"h2c",
        b"close",
        b"unknown",
    ),
)


def routes() -> list[Route]:
    """Return every route that the OpenAPI document has; there is no other (``undescribed``)."""
    flask_app = Flask("routes", static_folder=None)
    add_routes(flask_app)
    document = openapi.document(flask_app)
    schemas = document["components"]["schemas"]
    return [
        _route(method, path, operation, schemas)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def _route(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Route:
    said = operation.get("x-scope")
    contents: Mapping[str, Any] = operation.get("requestBody", {}).get("content", {})
    body = next((content.get("schema") for content in contents.values()), None)
    if body is not None and "$ref" in body:
        body = schemas[body["$ref"].rpartition("/")[2]]
    queries = tuple(one["name"] for one in operation["parameters"] if one["in"] == "query")
    return Route(method.upper(), path, None if said is None else Scope[said.upper()], queries, body)


def calls(
    seed: int, count: int, keys: Mapping[Who, str], names: Sequence[str], canary: str, found: Sequence[Route]
) -> Iterator[Asking]:
    """Yield ``count`` calls, every route as often; each body, wrong key and query value of ours carries ``canary``."""
    dice = Random(seed)
    for number in range(count):
        route = found[number % len(found)]
        who = dice.choice(list(Who))
        path = _path(dice, route, names) + _query(dice, route, canary)
        headers = (*_authorization(dice, who, keys), *_odd_headers(dice))
        body = _body(dice, route, canary)
        if body or dice.random() < 0.2:
            kind = b"application/json" if dice.random() < 0.8 else dice.choice(_TYPES)
            headers = (*headers, (b"Content-Type", kind))
        method = route.method.encode() if dice.random() < 0.85 else dice.choice(_METHODS)
        call = Call(who.value, False, path, body, headers, method)
        if dice.random() < 0.03:
            call = replace(call, framing=_framing(dice))
        yield Asking(call, route, who)


def _value(dice: Random, names: Sequence[str]) -> bytes:
    draw = dice.random()
    if draw < 0.15:
        return dice.choice(names).encode()
    if draw < 0.3:
        return str(uuid.UUID(int=dice.getrandbits(128))).encode()
    if draw < 0.4:
        return str(dice.randrange(1, 60)).encode()
    return dice.choice(_ODD)


def _path(dice: Random, route: Route, names: Sequence[str]) -> bytes:
    parts = []
    for part in route.path.split("/"):
        given = _value(dice, names) if part.startswith("{") else part.encode()
        parts.append(quote_from_bytes(given, safe=dice.choice(("", "/:"))).encode())
    path = b"/".join(parts)
    if dice.random() < 0.05:
        path += dice.choice((b"/", b"//", b"/x", b"%00", b";a=b", b"/..", b"%", b"#x"))
    return path


def _query(dice: Random, route: Route, canary: str) -> bytes:
    if dice.random() < 0.5:
        return b""
    names = [*(name.encode() for name in route.queries), b"limit", b"cursor", b"access_token", b"x", b"\xff", b""]
    values = (*_ODD, canary.encode(), canary.encode())
    pairs = [
        quote_from_bytes(dice.choice(names)) + "=" + quote_from_bytes(dice.choice(values))
        for _ in range(dice.choice((1, 1, 2, 3, 40)))
    ]
    return b"?" + "&".join(pairs).encode()[:3_500]


def _authorization(dice: Random, who: Who, keys: Mapping[Who, str]) -> Headers:
    if who is Who.NOBODY:
        odd = (b"", b"Bearer", b"Bearer ", b"Basic Og==", b"Bearer null", b"\xff", b"Negotiate x")
        return () if dice.random() < 0.7 else ((b"Authorization", dice.choice(odd)),)
    scheme = dice.choice((b"Bearer ", b"Bearer ", b"bearer  "))
    return ((b"Authorization", scheme + keys[who].encode()),)


def _odd_headers(dice: Random) -> Headers:
    if dice.random() < 0.5:
        return ()
    return tuple((dice.choice(_HEADERS), dice.choice(_HEADER_VALUES)) for _ in range(dice.randrange(1, 5)))


def _framing(dice: Random) -> Headers:
    host = (b"Host", b"tiercel")
    return dice.choice(
        (
            (host, (b"Connection", b"close"), (b"Transfer-Encoding", b"chunked")),
            (host, (b"Connection", b"close"), (b"Content-Length", b"5"), (b"Content-Length", b"6")),
            (host, (b"Connection", b"close"), (b"Content-Length", b"-1")),
            (host, (b"Connection", b"close"), (b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"3")),
            ((b"Connection", b"close"),),
        )
    )


def _body(dice: Random, route: Route, canary: str) -> bytes:
    draw = dice.random()
    if draw < (0.15 if route.body is not None else 0.7):
        return b""
    makers: tuple[Callable[[], bytes], ...] = (
        canary.encode,
        lambda: b"\xff\x00" + canary.encode(),
        lambda: b"[" * dice.choice((10, 5_000)) + canary.encode(),
        lambda: orjson.dumps([canary]),
        lambda: b'{"a":1,"a":"%s"}' % canary.encode(),
        lambda: b'{"a":' + b"9" * dice.choice((30, 5_000)) + b',"b":"%s"}' % canary.encode(),
        lambda: b'{"name":"\\ud800","note":"%s"}' % canary.encode(),
        lambda: orjson.dumps({canary: "x" * dice.choice((10, 70_000, 1_100_000))}),
    )
    if draw < 0.4:
        return dice.choice(makers)()
    return orjson.dumps(_made(dice, route.body, canary, 0))


def _made(dice: Random, schema: Any, canary: str, depth: int) -> Any:
    """Return something of the fields that a schema names, with values that often can't be."""
    odd = [None, True, -1, 0, 2**31, 2**63 - 1, 1e308, "", canary, "\x00", "a" * 300, [], {}, [canary], {"a": canary}]
    fields = schema.get("properties", {}) if isinstance(schema, Mapping) else {}
    if not fields or depth > 2:
        return {canary: dice.choice(odd)} if depth == 0 else dice.choice(odd)
    made: dict[str, Any] = {canary: canary} if dice.random() < 0.2 else {}
    for name, form in fields.items():
        if dice.random() < 0.75:
            options = form.get("enum") or form.get("examples") or ([form["const"]] if "const" in form else [])
            likely = dice.random() < 0.5
            made[name] = dice.choice(options) if options and likely else _made(dice, form, canary, depth + 1)
            if likely and form.get("type") == "string" and not options:
                made[name] = canary
    return made
