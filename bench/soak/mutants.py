"""Owns the ways in which a request around a body can be wrong, and the making of mutated calls from a seed. Pure."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random

from bench.harness.target import Sender, new_secret
from bench.soak.bodies import BODIES, to_json
from bench.soak.call import Call, Headers
from bench.soak.sound import sound

_METHODS = (b"GET", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"OPTIONS", b"HEAD", b"CONNECT", b"post", b"FOO", b"P" * 30)
_TAILS = (b"/", b"/x", b"%00", b"%ff", b"%2e%2e", b"?a=1&a=2", b"?%ff=%00", b";x=1", b"#x", b"%", b"%zz", b"/../..")
_PATHS = (
    *(
        b"/",
        b"*",
        b"//",
        b"/webhooks",
        b"/webhooks/",
        b"/webhooks//",
        b"/webhooks/%00",
        b"/webhooks/%ff%fe",
        b"/%0d%0a",
    ),
    *(
        b"/webhooks/" + b"a" * 3_900,
        b"/" + b"a" * 5_000,
        b"/..%2f..%2fetc/passwd",
        b"http://other/webhooks/x",
        b"/\xff",
    ),
)
_TYPES = (
    *(
        b"text/plain",
        b"",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
        b"application/xml",
    ),
    *(
        b"application/json;charset=utf-7",
        b"application/json; charset=\xff",
        b"application/+json",
        b"application/json,",
    ),
    *(b"application/vnd.x+json; a=" + b"b" * 3_000, b"APPLICATION/JSON", b"application/json; charset=klingon", b"/"),
)
_STRANGE = (
    *(
        b"",
        b" ",
        b",",
        b"v1,",
        b"v1," * 500,
        b"v1,\xff\xfe",
        b"v1a,AAAA",
        b"t=,v1=",
        b"t=1,t=2,v1=00",
        b"sha256=",
        b"==",
    ),
    *(
        b"sha256=" + b"\xe9" * 64,
        b"t=" + b"9" * 30 + b",v1=00",
        b"1_23",
        b"-1",
        b"1e9",
        b"9" * 4_000,
        b"\xc3\xa9",
        b"NaN",
    ),
)
_SIGNING = (
    *(b"webhook-id", b"webhook-timestamp", b"webhook-signature", b"x-hub-signature-256", b"stripe-signature"),
    *(b"x-shopify-hmac-sha256", b"squarespace-signature", b"authorization", b"x-signature", b"x-adobe-signature"),
    # Never both a digital signature and a path of Adobe's form: that would ask Adobe for a key.
    *(b"x-adobe-digital-signature-1", b"x-adobe-digital-signature-2", b"shopify-hmac-sha256"),
)
_UNSIGNED = (
    *(b"x-shopify-topic", b"x-shopify-webhook-id", b"x-shopify-event-id", b"x-shopify-triggered-at", b"shopify-topic"),
    *(b"x-shopify-shop-domain", b"x-key", b"ce-id", b"ce-type", b"ce-source", b"ce-data", b"ce-", b"ce-specversion"),
    *(b"ce-subject", b"ce-time", b"content-language", b"x-adobe-event-id", b"x-adobe-public-key1-path"),
)
_UNSIGNED_VALUES = (
    *(b"products/update", b"products/delete", b"customers/redact", b"shop/redact", b"app/uninstalled", b"a/b", b"/"),
    *(b"customer.left_segment", b"%00", b"%ff", b"%", b"%zz", b"1.0", b"0.3", b"price.deleted", b"/../x.pem"),
    *(b"2026-01-01T00:00:00Z", b"9999-12-31T23:59:59Z", b"https://evil.example/x.pem", b"a" * 600),
)
_BATCHES = (
    *(b"application/cloudevents-batch+json", b"application/x-ndjson", b"application/jsonl", b"application/ndjson"),
    *(b"application/cloudevents+json", b"application/cloudevents-batch", b"application/cloudevents+avro"),
)
_FRAMINGS: tuple[Headers, ...] = (
    ((b"Host", b"x"), (b"Content-Length", b"10")),
    ((b"Host", b"x"), (b"Content-Length", b"999999")),
    ((b"Host", b"x"), (b"Content-Length", b"-1")),
    ((b"Host", b"x"), (b"Content-Length", b"1e3")),
    ((b"Host", b"x"), (b"Content-Length", b"9" * 30)),
    ((b"Host", b"x"), (b"Content-Length", b"5"), (b"Content-Length", b"6")),
    ((b"Host", b"x"), (b"Transfer-Encoding", b"chunked")),
    ((b"Host", b"x"), (b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")),
    ((b"Host", b"x"), (b"Expect", b"100-continue"), (b"Content-Length", b"2")),
    ((b"Host", b"x"), (b"Content-Encoding", b"gzip"), (b"Content-Length", b"2")),
    ((b"Content-Length", b"2"),),
    ((b"Host", b"x"), (b"Host", b"y"), (b"Content-Length", b"2")),
    ((b"Host", b"\xff\x00"), (b"Content-Length", b"2")),
    ((b"Host", b"x"), (b"Bad Header", b"1"), (b"Content-Length", b"2")),
    ((b"Host", b"x"), (b"X-Nul", b"a\x00b"), (b"Content-Length", b"2")),
    ((b"Host", b"x"), (b"X-Long", b"y" * 9_000), (b"Content-Length", b"2")),
    ((b"Host", b"x"), *((b"X-%d" % n, b"1") for n in range(150)), (b"Content-Length", b"2")),
    ((b"Host", b"x"), (b"Content-Length", b"2"), (b"X-Folded", b"a\r\n b")),
    (),
)
_DESK = (
    *(b"/v1/events?limit=0", b"/v1/events?limit=99999999999999999999", b"/v1/events?cursor=AAAA", b"/v1/events?x=1"),
    *(
        b"/v1/events?since=0001-01-01T00:00:00%2B23:59",
        b"/v1/events?until=9999-12-31T23:59:59-23:59",
        b"/v1/events/%00",
    ),
    *(b"/v1/events?source=%00", b"/v1/events?type=%ff", b"/v1/events?lane=HIGH%20&lane=low", b"/v1/events?status=3"),
    *(
        b"/v1/events/" + b"0" * 36,
        b"/v1/events/{}",
        b"/v1/entities/a/b/%00",
        b"/v1/entities/%ff/b/c",
        b"/v1/entities/%00/b/c",
        b"/v1/entities/a/%00/c",
        b"/v1/entities/a/b",
    ),
    *(b"/v1/entities/a/b/" + b"c" * 3_000, b"/v1/entities/a/b//", b"/v1/lanes?x=%00", b"/v1/nothing", b"/v1/", b"/v1"),
    *(b"/v1/events?limit=%d9%a1", b"/v1/events?since=2026-01-01&until=x", b"/v1/events?entity_id=" + b"%f0%9f%92%b8"),
    *(b"/livez", b"/readyz?x=%00", b"/metrics", b"/openapi.json", b"/docs", b"/favicon.ico"),
)


def calls(seed: int, count: int, senders: Mapping[str, Sender], canary: str, key: str) -> Iterator[Call]:
    """Yield ``count`` mutated requests; bodies that aren't rightly signed carry ``canary``, the others never do."""
    dice = Random(seed)
    roles = list(senders)
    around: list[Callable[[Random, Sender, str, int], Call]] = [
        _odd_method,
        _odd_path,
        _odd_content_type,
        _odd_signature,
        _odd_key,
        _odd_framing,
        _odd_version,
        _odd_unsigned,
        _odd_batch,
        _odd_hello,
    ]
    for number in range(count):
        sender = senders[roles[number % len(roles)]]
        draw = dice.random()
        if draw < 0.6:
            yield _odd_body(dice, sender, canary, number)
        elif draw < 0.94:
            yield dice.choice(around)(dice, sender, canary, number)
        else:
            yield _desk(dice, canary, key)


def signed(sender: Sender, body: bytes, number: int) -> Headers:
    """Return the headers of a rightly signed body."""
    given = sender.sign(f"msg-{number}", "price.updated", body, time.time())
    pairs = tuple((name.encode(), value.encode("latin-1")) for name, value in given.items() if name != "content-type")
    return ((b"Content-Type", given.get("content-type", "application/json").encode()), *pairs)


def _path(sender: Sender) -> bytes:
    return f"/webhooks/{sender.name}".encode()


def _odd_body(dice: Random, sender: Sender, canary: str, number: int) -> Call:
    name = dice.choice(list(BODIES))
    how = dice.choice(("right", "right", "wrong", "none"))
    body = BODIES[name](dice, sound(sender.kind, number, "sound" if how == "right" else canary))
    headers: Headers = ((b"Content-Type", b"application/json"),)
    if how == "right":
        headers = signed(sender, body, number)
    elif how == "wrong":
        headers = signed(replace(sender, secret=new_secret(sender.kind)), body, number)
    return Call(name, how == "right", _path(sender), body, headers)


def _forged(sender: Sender, canary: str, number: int, mutation: str) -> Call:
    body = to_json(sound(sender.kind, number, canary))
    headers = signed(replace(sender, secret=new_secret(sender.kind)), body, number)
    return Call(mutation, False, _path(sender), body, headers)


def _odd_method(dice: Random, sender: Sender, canary: str, number: int) -> Call:
    return replace(_forged(sender, canary, number, "odd method"), method=dice.choice(_METHODS))


def _odd_path(dice: Random, sender: Sender, canary: str, number: int) -> Call:
    path = dice.choice((dice.choice(_PATHS), _path(sender) + dice.choice(_TAILS)))
    return replace(_forged(sender, canary, number, "odd path"), path=path)


def _odd_content_type(dice: Random, sender: Sender, canary: str, number: int) -> Call:
    call = _forged(sender, canary, number, "odd content type")
    kept = tuple(pair for pair in call.headers if pair[0] != b"Content-Type")
    return replace(call, headers=(*((b"Content-Type", dice.choice(_TYPES)) for _ in range(dice.randrange(3))), *kept))


def _odd_signature(dice: Random, sender: Sender, canary: str, number: int) -> Call:
    call = _forged(sender, canary, number, "odd signature")
    kept = tuple((name, value) for name, value in call.headers if dice.random() < 0.6 or name == b"Content-Type")
    names = [*(name for name, _ in call.headers if name != b"Content-Type"), *_SIGNING]
    odd = tuple((dice.choice(names), dice.choice(_STRANGE)) for _ in range(dice.randrange(1, 4)))
    return replace(call, headers=(*kept, *odd))


def _odd_key(dice: Random, sender: Sender, _canary: str, number: int) -> Call:
    """A strange idempotency key, rightly signed where the key is signed at all."""
    body = to_json(sound(sender.kind, number))
    keys = ("\x00", "a\x7fb", "k" * 513, "é", "\U0001f4b8", " lead", "tail ", "a.b.c", "{}", "'\"", "x" * 512)
    given = sender.sign(dice.choice(keys), "price.updated", body, time.time())
    pairs = tuple((name.encode(), value.encode("latin-1")) for name, value in given.items())
    return Call("odd key", True, _path(sender), body, ((b"Content-Type", b"application/json"), *pairs))


def _odd_unsigned(dice: Random, sender: Sender, _canary: str, number: int) -> Call:
    """A rightly signed body under other headers than its sender gave it."""
    body = to_json(sound(sender.kind, number))
    headers = dict(signed(sender, body, number))
    for name in dice.sample(_UNSIGNED, dice.randrange(1, 5)):
        headers[name] = dice.choice((*_UNSIGNED_VALUES, *_STRANGE))
    if dice.random() < 0.4:
        headers[b"Content-Type"] = b"application/json"
    return Call("odd unsigned headers", True, _path(sender), body, tuple(headers.items()))


def _odd_batch(dice: Random, sender: Sender, canary: str, number: int) -> Call:
    """Several bodies, some of them mutated, as an array or as lines, whatever the kind takes."""
    right = dice.random() < 0.6
    mark = "sound" if right else canary
    names = [dice.choice(["sound", "sound", *BODIES]) for _ in range(dice.choice((0, 1, 3, 20)))]
    whole = [sound(sender.kind, number * 20 + at, mark) for at in range(len(names))]
    parts = [
        to_json(one) if name in {"sound", "big"} else BODIES[name](dice, one)
        for name, one in zip(names, whole, strict=True)
    ]
    forms = {
        b"array": b"[" + b",".join(parts) + b"]",
        b"lines": b"\n".join(parts),
        b"crlf": b"\r\n".join(parts) + b"\n\n",
    }
    content_type, form = dice.choice(_BATCHES), dice.choice(list(forms))
    if dice.random() < 0.6:
        # As the kind takes them.
        array = sender.kind == "cloudevents"
        content_type, form = (_BATCHES[0], b"array") if array else (_BATCHES[1], b"lines")
    body = forms[form]
    signer = sender if right else replace(sender, secret=new_secret(sender.kind))
    headers = tuple(pair for pair in signed(signer, body, number) if pair[0] != b"Content-Type")
    return Call("odd batch", right, _path(sender), body, ((b"Content-Type", content_type), *headers))


def _odd_hello(dice: Random, sender: Sender, _canary: str, _number: int) -> Call:
    """A vendor's handshake, or something like one."""
    query = dice.choice(
        (b"", b"?challenge=abc", b"?challenge=%0d%0aX:y", b"?challenge=" + b"a" * 3_000, b"?challenge")
    )
    origin = dice.choice((b"shop.example", b"*", b"<script>", b"a\xff", b"", b"a" * 300))
    headers = ((b"WebHook-Request-Origin", origin), (b"WebHook-Request-Callback", b"http://127.0.0.1:1/x"))
    return Call("odd hello", False, _path(sender) + query, b"", headers, dice.choice((b"GET", b"OPTIONS", b"HEAD")))


def _odd_framing(dice: Random, sender: Sender, canary: str, number: int) -> Call:
    call = _forged(sender, canary, number, "odd framing")
    if dice.random() < 0.3:
        chunk = dice.choice(
            (b"%x\r\n%s\r\n0\r\n\r\n", b"%x;ext=1\r\n%s\r\n0\r\nX: y\r\n\r\n", b"%x\r\n%s", b"-%x\r\n%s\r\n")
        )
        framing = ((b"Host", b"x"), (b"Transfer-Encoding", dice.choice((b"chunked", b"gzip, chunked", b"identity"))))
        return replace(call, framing=framing, body=chunk % (len(call.body), call.body))
    return replace(call, framing=dice.choice(_FRAMINGS))


def _desk(dice: Random, canary: str, key: str) -> Call:
    given = dice.choice(
        (*(b"Bearer " + key.encode(),) * 4, b"Bearer \xff", b"Bearer " + b"x" * 3_000, b"Basic x", b"")
    )
    method = dice.choice((b"GET", b"GET", b"GET", b"POST", b"PUT", b"DELETE", b"HEAD"))
    headers = ((b"Authorization", given), (b"Content-Type", b"application/json"))
    return Call("desk", False, dice.choice(_DESK), to_json({"note": canary}), headers, method)


def _odd_version(dice: Random, sender: Sender, canary: str, number: int) -> Call:
    versions = (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.1 ", b"", b"ICAP/1.0", b"HTTP/1.1\x00")
    return replace(_forged(sender, canary, number, "odd version"), version=dice.choice(versions))
