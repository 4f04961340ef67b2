"""A secret is found in what arrived however JSON, URLs and forms may write it."""

import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sources.kinds.redaction import redact_bytes

WRITERS: dict[str, Callable[[str], bytes]] = {
    "as it is": lambda text: text.encode(),
    "JSON": lambda text: json.dumps(text)[1:-1].encode(),
    "JSON of UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1].encode(),
    "JSON of PHP": lambda text: json.dumps(text)[1:-1].replace("/", "\\/").encode(),
    "JSON of Go": lambda text: json.dumps(text)[1:-1].replace("&", "\\u0026").replace("<", "\\u003c").encode(),
    "JSON, all escaped": lambda text: "".join(
        f"\\u{text.encode('utf-16-be').hex()[place : place + 4]}"
        for place in range(0, len(text.encode("utf-16-be")) * 2, 4)
    ).encode(),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[1:-1].encode(),
    "percent": lambda text: quote(text, safe="").encode(),
    "percent in lower case": lambda text: quote(text, safe="").lower().encode() if text == text.lower() else b"",
    "a form": lambda text: quote_plus(text).encode(),
}


@pytest.mark.parametrize("writer", WRITERS)
@given(secret=st.text(st.characters(codec="utf-8"), min_size=8, max_size=40).filter(str.strip))
def test_every_way_to_write_a_secret_is_found(writer: str, secret: str) -> None:
    written = WRITERS[writer](secret)
    found = redact_bytes(b'{"a": "' + written + b'"}', [secret])
    if written:
        assert b"[redacted]" in found
        assert written not in found


@pytest.mark.parametrize("piece", [b"\\", b"\\u", b"\\u00", b"%", b"%2", b"a", b" ", b"\\\\/", b"+"])
@pytest.mark.parametrize("secret", ["aaaaaaab", "        b", "\\\\\\\\\\\\b", "//////b", "%%%%%%%b", "++++++++b"])
def test_no_body_takes_more_than_its_length(secret: str, piece: bytes) -> None:
    # Were the time to grow with the square of the length, this would take minutes and end by the suite's time-out.
    assert redact_bytes(piece * (2_000_000 // len(piece)), [secret])


@pytest.mark.parametrize(
    ("secret", "body", "left"),
    [
        ("whsec_QUJDREVGR0g=", b"x QUJDREVGR0g= x", b"x [redacted] x"),
        ("whsec_AAAAAAAA whsec_BBBBBBBB", b"x whsec_BBBBBBBB, AAAAAAAA x", b"x [redacted], [redacted] x"),
        ("a.b-c*d+e", b"a.b-c*d+e aXb-c*d+e", b"[redacted] aXb-c*d+e"),
        ("   ", b"a   b", b"a   b"),
    ],
)
def test_the_parts_of_a_secret_are_secret_and_nothing_else_is(secret: str, body: bytes, left: bytes) -> None:
    assert redact_bytes(body, [secret]) == left
