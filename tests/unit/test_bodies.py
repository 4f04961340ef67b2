"""Bodies are read for what they are, whatever the content type says."""

import json

import pytest

from app.errors import BodyMalformed
from app.sources.kinds import Request, bodies, ndjson

TYPES = ["application/json", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream", ""]


def sent(body: bytes, content_type: str) -> Request:
    return Request({"content-type": content_type} if content_type else {}, body, 0.0)


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b"type=subscribe&data%5Bemail%5D=a%40b.c", {"type": "subscribe", "data": {"email": "a@b.c"}}),
        (b"type=subscribe&data[id]=1&data[id]=2", {"type": "subscribe", "data": {"id": ["1", "2"]}}),
        (b"payload=%7B%22a%22%3A+1%7D", {"a": 1}),
        (b'{"a": "b=c"}', {"a": "b=c"}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
    ],
)
def test_json_and_forms_are_told_apart_by_their_looks(body: bytes, read: object, content_type: str) -> None:
    assert bodies.read(sent(body, content_type)) == (read, ())


@pytest.mark.parametrize("body", [b"", b"a", b"<a b='c'/>", b'{"a": 1', b"{a=1}", b"\xff=1", b"hello = world"])
def test_what_is_neither_stays_malformed(body: bytes) -> None:
    with pytest.raises(BodyMalformed):
        bodies.read(sent(body, "application/json"))


@pytest.mark.parametrize("content_type", [*TYPES, *sorted(ndjson.CONTENT_TYPES)])
@pytest.mark.parametrize("start", [b"", b"\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("between", [b"\n", b"\r\n", b"\n\n", b" \n "])
def test_lines_of_json_are_a_batch(start: bytes, between: bytes, content_type: str) -> None:
    parts = ndjson.split(sent(start + between.join([b'{"a": {"b": 1}}', b'{ "a": 2}', b"broken"]), content_type), None)
    assert parts is not None
    assert [part.body.strip() for part in parts] == [b'{"a": {"b": 1}}', b'{ "a": 2}', b"broken"]


@pytest.mark.parametrize("indent", [None, 1])
def test_one_object_is_no_batch_however_it_is_written(indent: int | None) -> None:
    body = json.dumps({"a": {"b": 1}, "c": '}\n{"', "d": [{"e": {}}, {"f": 2}]}, indent=indent).encode()
    assert ndjson.split(sent(body, "application/json"), None) is None
