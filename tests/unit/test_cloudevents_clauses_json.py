"""CloudEvents' JSON format 1.0.2 (``formats/json-format.md``), clause by clause: data, and batches."""

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BodyMalformed, BodyTooLarge, FieldInvalid
from app.events.canonical_json import resolve
from app.events.incoming import Completeness
from app.handlers import handler_for
from app.handlers.registry import Shop
from app.sources.kinds import Request, ndjson
from app.sources.kinds.cloudevents import KIND
from app.sources.kinds.read import read
from tests.support.cloudevents import AT, BATCH, EVENT, STRUCTURED, b64, binary, events, structured


def test_null_is_the_same_as_no_attribute() -> None:
    """JSON 2.2: a null MUST be treated as unset."""
    names = ("subject", "time", "datacontenttype", "sequence", "sequencetype", "data_base64", "shelf")
    unset: dict[str, Any] = dict.fromkeys(names)
    event = structured(**unset, data={"id": "L-9"})
    assert (event.entity_id, event.version, event.sequence, event.notes) == ("L-9", None, None, ())
    assert event.data_pointer == "/data"


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/json", "application/ld+json; v=1", "Application/JSON", "a/b+c+json", None, ""],
)
def test_json_in_base64_is_read_as_data(content_type: str | None) -> None:
    """JSON 3.1.2: data_base64 MUST be decoded, and MAY be interpreted by its datacontenttype."""
    event = structured(without="data", data_base64=b64(b'{"amount":"1.50"}'), datacontenttype=content_type)
    assert event.payload["data"] == {"amount": "1.50"}
    assert "data_base64" not in event.payload
    assert (event.data_pointer, event.completeness, event.notes) == ("/data", Completeness.COMPLETE, ())


def test_json_in_base64_fills_typed_rows() -> None:
    """JSON 3.1.2: what the example of a price in base64 comes to."""
    event = structured(without="data", data_base64=b64(b'{"amount":"19.90","currency":"EUR"}'))
    (row,) = handler_for(event.entity_type).rows_of(resolve(event.payload, event.data_pointer), lambda: Shop(None))
    assert (str(row["amount"]), row["currency"]) == ("19.90", "EUR")


@pytest.mark.parametrize(
    "content_type", ["image/png", "application/xml", "json", "application/jsonl", "x/json+xml", 5]
)
def test_other_bytes_stay_as_they_came(content_type: object) -> None:
    """JSON 3.1.2: only what declares JSON is read as JSON."""
    event = structured(without="data", data_base64=b64(b"{}"), datacontenttype=content_type)
    assert event.payload["data_base64"] == b64(b"{}")
    assert "data" not in event.payload
    assert (event.completeness, event.notes) == (Completeness.THIN, ())


@pytest.mark.parametrize("encoded", [b64(b"{"), b64(b'{"a":1,"a":2}'), "%%%", "e30", "e3%0=", 5, {"a": 1}, "", "ü"])
def test_bytes_that_are_not_the_json_they_say_are_kept_with_a_note(encoded: object) -> None:
    """JSON 3.1.2."""
    event = structured(without="data", data_base64=encoded)
    assert event.payload["data_base64"] == encoded
    assert (event.entity_id, event.completeness) == ("L-7", Completeness.THIN)
    assert event.notes == ("data_base64 isn't JSON in base64, as datacontenttype says: it is kept as it came",)
    # Where the subject isn't there either, what would have named the entity can't be read.
    with pytest.raises(FieldInvalid, match=r"^/data_base64 isn't JSON"):
        structured(without="data", subject=None, data_base64=encoded)


def test_base64_in_lines_and_another_charset_is_read() -> None:
    """JSON 3.1.2; Core, datacontenttype."""
    wrapped = base64.encodebytes(
        '{"text":"grün, grün, grün, und zwar in vielen Wörtern, damit es umbricht"}'.encode()
    ).decode()
    assert structured(without="data", data_base64=wrapped).data_pointer == "/data"
    utf_16 = b64('{"a":"ü"}'.encode("utf-16"))
    event = structured(without="data", data_base64=utf_16, datacontenttype="application/json; charset=UTF-16")
    assert event.payload["data"] == {"a": "ü"}


def test_data_and_data_base64_exclude_each_other() -> None:
    """JSON 3.1.1: the two members are mutually exclusive."""
    event = structured(data_base64=b64(b"{}"))
    assert event.payload["data"] == EVENT["data"]
    assert event.notes == ("the event has data and data_base64: data was read",)


@pytest.mark.parametrize("content_type", ["application/json", None, "text/plain"])
def test_a_text_in_data_is_a_text(content_type: str | None) -> None:
    """JSON 3.1.2: a JSON string MUST NOT be deserialised again; other content SHOULD be a string."""
    event = structured(data='{"amount":"1"}', datacontenttype=content_type)
    assert event.payload["data"] == '{"amount":"1"}'
    assert (event.data_pointer, event.completeness) == ("", Completeness.THIN)


@pytest.mark.parametrize("data", [None, 0, False, [], ["a"], "x", 1.5])
def test_data_is_any_json(data: object) -> None:
    """JSON 3.1.1, 3.1.2: data MUST be treated directly as a JSON value, null included."""
    event = structured(data=data)
    assert "data" in event.payload
    assert json.dumps(event.payload["data"], default=float) == json.dumps(data)
    assert event.completeness is Completeness.THIN
    assert structured(data=data, type="lamp.price.deleted").completeness is Completeness.COMPLETE


def test_a_binary_event_is_kept_as_the_json_format_would_write_it() -> None:
    """JSON 3.1.1: bytes MUST be data_base64, JSON MUST be a JSON value, other content MUST be a string."""
    xml = "<größe/>"
    for body, content_type, data in (
        (xml.encode(), "text/xml", xml),
        (xml.encode("latin-1"), "text/xml; charset=ISO-8859-1", xml),
        (xml.encode("utf-16"), "application/xml; charset=utf-16", xml),
        (b"a,b\n", "text/csv", "a,b\n"),
        (b"hello", "text/plain;charset=UTF-8", "hello"),
        (b"[1]", "application/json", [1]),
        (b'"x"', None, "x"),
        (b'{"a":1}', "text/plain;charset=UTF-8", {"a": 1}),
        (b'{"a":1}', "application/octet-stream", {"a": 1}),
        (b"a=1&b[c]=2", "application/x-www-form-urlencoded", {"a": "1", "b": {"c": "2"}}),
    ):
        event = binary(body, content_type)
        assert event.payload["data"] == data
        assert "data_base64" not in event.payload
        assert event.notes == ()
    for body, content_type in (
        (b"\x89PNG", "image/png"),
        (b"{}", "image/png"),
        (b"[1]", "application/octet-stream"),
        (xml.encode("latin-1"), "text/xml"),
        (b"a\0b", "text/plain"),
        (b"%PDF", "application/pdf; charset=x-no-such"),
    ):
        event = binary(body, content_type)
        assert event.payload["data_base64"] == b64(body)
        assert "data" not in event.payload
        assert event.notes == ()


@pytest.mark.parametrize("content_type", ["application/json", "text/json", "a/b+json", None])
@pytest.mark.parametrize("body", [b"{", b"<a/>", b"\xff", b'{"a":1,"a":2}'])
def test_a_binary_event_whose_data_is_not_the_json_it_says_is_kept_with_a_note(
    body: bytes, content_type: str | None
) -> None:
    """JSON 3.1.1; HTTP 3.1.2."""
    event = binary(body, content_type)
    assert event.payload["data_base64"] == b64(body)
    assert (event.entity_id, event.completeness) == ("L-7", Completeness.THIN)
    assert event.notes == ("the data isn't JSON, as its content type says: it is kept as data_base64",)
    with pytest.raises(FieldInvalid, match=r"^/data_base64 isn't JSON"):
        binary(body, content_type, subject="")


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("iso-8859-1", "latin-1"),
        ('"ISO-8859-1"', "utf-8"),
        ("UTF-16", "utf-16"),
        ("utf-16le", "utf-16-le"),
        ("x", "utf-8"),
    ],
)
def test_json_in_another_charset_is_read(charset: str, codec: str) -> None:
    """RFC 8259, 8.1: JSON is UTF-8, so a charset counts only where the bytes aren't."""
    made = EVENT | {"subject": "Bücherlampe"}
    raw = json.dumps(made, ensure_ascii=False).encode(codec)
    (event,) = events({"content-type": f"{STRUCTURED}; charset={charset}"}, raw)
    assert event.entity_id == "Bücherlampe"
    raw = json.dumps([made, made], ensure_ascii=False).encode(codec)
    assert len(events({"content-type": f"{BATCH};charset={charset}"}, raw)) == 2
    raw = json.dumps({"a": "ü"}, ensure_ascii=False).encode(codec)
    assert binary(raw, f"application/json; charset={charset}").payload["data"] == {"a": "ü"}


def test_an_empty_batch_is_nothing_to_do() -> None:
    """HTTP 3.3.2; JSON 4.3: the batch MAY be empty."""
    for content_type in (BATCH, "application/cloudevents-batch", f"{BATCH.upper()}; charset=utf-8"):
        for body in (b"[]", b" [ ]\n", "[]".encode("utf-8-sig")):
            assert KIND.split(Request({"content-type": content_type}, body, AT), KIND.config()) == []
    with pytest.raises(BodyMalformed):
        events({"content-type": STRUCTURED}, b"[]")


def test_an_event_that_cannot_be_read_leaves_the_others_of_its_batch_alone() -> None:
    """HTTP 3.3.2: each event stands for itself."""
    good = json.dumps(EVENT)
    bad = [
        *("7", '{"specversion":"1.0"}', '{"a":1,"a":2}', "[" * 70 + "]" * 70, "NaN", '"a, ] b"', "{'a'}"),
        *('{"n":1e999999}', "", r'{"x":"\ud83d"}'),
    ]
    body = f"[{good},{','.join(bad)}, {good} ]".encode()
    parts = KIND.split(Request({"content-type": BATCH}, body, AT), KIND.config())
    assert parts is not None
    assert len(parts) == len(bad) + 2
    assert json.loads(parts[0].body) == json.loads(parts[-1].body) == EVENT
    assert [part.body.decode() for part in parts[1:-1]] == bad
    for part in parts[1:-1]:
        with pytest.raises((BodyMalformed, FieldInvalid)):
            read(KIND, part, [], KIND.config(), "shop")


@pytest.mark.parametrize("body", [b"{}", b"7", b"", b"[", b"[1}", b"[] []", b"x [1]", b"[1] x", b'["', b"]"])
def test_a_batch_that_is_no_array_is_unreadable_as_a_whole(body: bytes) -> None:
    """JSON 4.1: the outermost element is an array."""
    with pytest.raises(BodyMalformed, match="a batch must be a JSON array"):
        KIND.split(Request({"content-type": BATCH}, body, AT), KIND.config())


def test_a_batch_has_500_events_at_most() -> None:
    """HTTP 3: the receiver chooses the maximum size of a batch."""
    request = Request({"content-type": BATCH}, b"[" + b",".join([b"1"] * 501) + b"]", AT)
    with pytest.raises(BodyTooLarge):
        KIND.split(request, KIND.config())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a"\\,[]{} é😀', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('k"[,', max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(JSON, min_size=1, max_size=5), st.sampled_from([None, 1]))
def test_a_batch_is_taken_apart_where_its_elements_end(found: list[Any], indent: int | None) -> None:
    """JSON 4.1."""
    for ascii_only in (True, False):
        body = json.dumps(found, indent=indent, ensure_ascii=ascii_only).encode()
        assert [json.loads(one) for one in ndjson._written(body)] == found


@given(st.binary() | st.text('[]{},"\\ a').map(str.encode))
def test_whatever_says_to_be_a_batch_is_taken_apart_or_refused_by_name(body: bytes) -> None:
    """JSON 4.1."""
    with suppress(BodyMalformed):
        KIND.split(Request({"content-type": BATCH}, body, AT), KIND.config())


def test_what_was_replaced_in_an_event_of_a_batch_is_that_events_note() -> None:
    """HTTP 3.3.2."""
    cut = json.dumps(EVENT | {"id": "n-2"})[:-1] + r',"text":"\ud83d"}'
    first, second = events({"content-type": BATCH}, f"[{json.dumps(EVENT)},{cut}]".encode())
    assert (first.notes, len(second.notes)) == ((), 1)
    assert second.payload["text"] == "\ufffd"


def test_an_array_is_a_batch_whatever_its_media_type() -> None:
    """HTTP 3: what isn't binary can't be anything else."""
    two = json.dumps([EVENT, EVENT])
    for content_type in (STRUCTURED, "application/json"):
        for body in (two.encode(), two.encode("utf-8-sig"), f"\n {two}".encode()):
            assert len(events({"content-type": content_type}, body)) == 2


def test_ascii_in_utf_16_is_no_utf_8() -> None:
    """RFC 8259, 8.1."""
    raw = json.dumps({"a": "b"}).encode("utf-16-le")
    assert binary(raw, "application/json; charset=utf-16le").payload["data"] == {"a": "b"}
