"""The kind ``cloudevents`` held to CloudEvents 1.0.2, clause by clause (github.com/cloudevents/spec at ce@v1.0.2).

Each test's first line names its clauses: "Core" is ``spec.md``, "HTTP" ``bindings/http-protocol-binding.md``; in the
files beside this one "JSON" is ``formats/json-format.md``, "Hooks" ``http-webhook.md`` and "Sequence" the extension
``extensions/sequence.md``, which has no numbers. These MUSTs are others' to keep, and have no test:

- HTTP 3, JSON 4: batches only where they are solicited. A sender's; ``tiercel send`` sends one structured event.
- HTTP 3.1.3.2: header values are percent-encoded. A sender's; we send no attribute in a header.
- HTTP 3.3.2: one specversion in all of a batch. A sender's; each event is read by its own.
- JSON 2.2: an extension's secondary mapping in all formats. That extension's.
- Hooks 2.1: TLS. The operator's. Content-Type, payload and origin of a delivery. A sender's; we can do without.
- Hooks 2.2, 4.1.2: following no redirect, heeding Retry-After, naming the origin again. A sender's.
- Sequence: texts that sort; integers from 1 on. A sender's. One that wraps around at 2^31 is not followed.
"""

import json
import re
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli import bodies as send
from app.errors import BodyMalformed, FieldInvalid
from app.events.incoming import Completeness, Operation
from app.sources.kinds.cloudevents import KIND
from app.sources.kinds.kind import Outgoing
from app.sources.kinds.read import read
from config.settings import Settings
from tests.support.cloudevents import AT, BATCH, EVENT, HEADERS, STRUCTURED, TOKEN, binary, events, posted, structured


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
@pytest.mark.parametrize("value", [None, "", "absent", 7.5, ["x"], "\x07"])
def test_a_required_attribute_is_a_text_with_something_in_it(name: str, value: object) -> None:
    """Core, REQUIRED Attributes: id, source, type and specversion MUST be non-empty strings."""
    with pytest.raises(FieldInvalid, match=f"^/{name} "):
        structured(**({"without": name} if value == "absent" else {name: value}))


def test_source_and_id_together_are_the_key() -> None:
    """Core, id: MUST be unique within the producer; source and id name an event."""
    assert structured().external_id == "/lamps n-1"
    assert structured(source="/lamps", id=17).external_id == "/lamps 17"
    long = structured(source="/" + "s" * 2_000, id="i" * 2_000, without="subject")
    assert re.fullmatch(r"[0-9a-f]{64}", long.external_id)
    assert long.external_id != structured(source="/" + "s" * 2_000, id="i" * 1_999 + "j").external_id


@pytest.mark.parametrize(
    ("told", "note"),
    [
        ("1.0", ()),
        ("1.1", ("specversion 1.1 was read as 1.0",)),
        ("1.0-rc1", ("specversion 1.0-rc1 was read as 1.0",)),
    ],
)
def test_another_minor_specversion_is_read_as_1_0(told: str, note: tuple[str, ...]) -> None:
    """Core, specversion: producers MUST use 1.0 for this version."""
    assert structured(specversion=told).notes == note
    assert binary(specversion=told).notes == note


@pytest.mark.parametrize("told", ["0.3", "2.0", "10.0", "1.", "one", 1, True, {}])
def test_another_major_specversion_is_not(told: object) -> None:
    """Core, specversion."""
    with pytest.raises(FieldInvalid, match="specversion"):
        structured(specversion=told)


def test_attributes_keep_their_json_types_and_extensions_are_at_the_top() -> None:
    """Core, Type System; JSON 2, 2.2: extensions MUST be top-level members, of the mapped JSON types."""
    more: dict[str, Any] = {
        "shelf": 5,
        "fragile": True,
        "dataschema": "https://lamps.example/price.json",
        "colour": "grün",
    }
    assert structured(**more).payload == EVENT | more


def test_a_subject_without_a_text_is_none() -> None:
    """Core, subject: if present, MUST be a non-empty string."""
    for subject in ("", None):
        assert structured(subject=subject, data={"id": 31}).entity_id == "31"
        own = structured(subject=subject, data={})
        assert (own.entity_id, own.fact, structured().fact) == ("/lamps n-1", True, None)


def test_time_is_rfc_3339_or_absent() -> None:
    """Core, time: if present, MUST adhere to RFC 3339."""
    version = structured(time="2026-11-06T23:19:30.000000001+02:00").version
    assert version is not None
    assert str(version.order) == "1793999970.000000001"
    assert structured(time=None).version is None
    assert structured(without="time").version is None
    with pytest.raises(FieldInvalid, match=r"^/time isn't"):
        structured(time="06.11.2026")


def test_64_kilobytes_and_more_are_taken() -> None:
    """Core, Size Limits: consumers SHOULD accept at least 64 KByte."""
    assert structured(data={"text": "x" * 100_000}).completeness is Completeness.COMPLETE
    assert binary(b'{"text":"' + b"x" * 100_000 + b'"}').data_pointer == "/data"
    assert Settings.model_fields["max_body_bytes"].default >= 65_536


@pytest.mark.parametrize(
    "content_type",
    [
        *(STRUCTURED, "application/cloudevents", "Application/CloudEvents+JSON", f"{STRUCTURED}; charset=UTF-8"),
        *(f'{STRUCTURED};charset="utf-8"', f"{STRUCTURED} ; profile=x", f"{STRUCTURED}; charset=x-unknown"),
    ],
)
def test_the_content_type_tells_structured_mode(content_type: str) -> None:
    """HTTP 3, 1.4: application/cloudevents is structured; the JSON format MUST be supported."""
    (event,) = events({"content-type": content_type}, json.dumps(EVENT).encode())
    assert event.payload == EVENT
    assert event.data_pointer == "/data"


@pytest.mark.parametrize("content_type", [BATCH, f"{BATCH}; charset=utf-8", "application/cloudevents-batch"])
def test_the_content_type_tells_batched_mode(content_type: str) -> None:
    """HTTP 3, 3.3, 3.3.1; JSON 4.1: the batch is an array of events; the JSON format MUST be supported."""
    several = [EVENT, EVENT | {"id": "n-2", "subject": "L-8", "datacontenttype": "text/plain", "data": "x"}]
    assert [one.entity_id for one in events({"content-type": content_type}, json.dumps(several).encode())] == [
        "L-7",
        "L-8",
    ]


def test_everything_else_is_binary_mode_also_without_a_content_type() -> None:
    """HTTP 3: otherwise it defaults to binary mode."""
    assert binary(b'{"a":1}', None).payload["data"] == {"a": 1}
    assert binary(b'{"a":1}', "application/vnd.lamps+json").payload["data"] == {"a": 1}


def test_another_event_format_is_named_as_such() -> None:
    """HTTP 3: a format that a receiver can't handle MAY be treated as binary; ours is unmapped."""
    with pytest.raises(BodyMalformed, match="only JSON"):
        events({"content-type": "application/cloudevents+avro", **HEADERS}, b"Obj\x01")


def test_an_event_without_any_header_is_read_from_its_body() -> None:
    """HTTP 3: without the mandatory headers nothing makes a message binary; a body that is an event is one."""
    for content_type in ({"content-type": "application/json"}, {"content-type": "text/plain"}, {}):
        (event,) = events(content_type, json.dumps(EVENT).encode())
        assert event.payload == EVENT
        two = events(content_type, json.dumps([EVENT, EVENT]).encode())
        assert len(two) == 2
    with pytest.raises(FieldInvalid, match="ce-specversion"):
        events({"content-type": "application/json"}, b'{"a":1}')
    with pytest.raises(FieldInvalid, match="ce-specversion"):
        events({"content-type": "application/json", "ce-id": "1"}, json.dumps(EVENT).encode())


def test_datacontenttype_is_the_content_type() -> None:
    """HTTP 3.1.1: datacontenttype MUST be populated from Content-Type."""
    assert binary(b"<a/>", "text/xml; charset=utf-8").payload["datacontenttype"] == "text/xml; charset=utf-8"
    assert binary(b"{}", "application/json; v=2").payload["datacontenttype"] == "application/json; v=2"
    # What was read as JSON is in no charset any more.
    assert (
        binary(b"{}", 'application/json; charset="UTF-8"; v=2').payload["datacontenttype"] == "application/json; v=2"
    )
    assert "datacontenttype" not in binary(b"{}", None).payload


def test_a_header_for_datacontenttype_is_ignored() -> None:
    """HTTP 3.1.1: ce-datacontenttype MUST NOT also be present."""
    event = binary(b"{}", None, datacontenttype="text/plain")
    assert "datacontenttype" not in event.payload
    assert event.notes == ("headers that can't name an attribute were ignored: ce-datacontenttype",)


def test_the_body_is_the_data_and_none_is_none() -> None:
    """HTTP 3.1.2: the data is the message body."""
    assert binary(b'{"a":[1,2.50]}').payload["data"] == {"a": [1, Decimal("2.50")]}
    for content_type in ("application/json", None, "image/png"):
        event = binary(b"", content_type, type="lamp.deleted")
        assert not {"data", "data_base64"} & event.payload.keys()
        assert event.operation is Operation.DELETE
    assert binary(b"", None).completeness is Completeness.THIN


def test_every_attribute_is_a_header_of_its_own_extensions_too() -> None:
    """HTTP 3.1.3, 3.1.3.1: attributes MUST be mapped from headers of the same name with the prefix ce-."""
    event = binary(b"", None, shelf="5", traceparent="00-a-b-01", dataschema="https://lamps.example/s")
    assert event.payload == {
        "specversion": "1.0",
        "id": "n-1",
        "source": "/lamps",
        "type": "lamp.price.updated",
        "subject": "L-7",
        "time": "2026-11-06T21:19:30Z",
        "shelf": "5",
        "traceparent": "00-a-b-01",
        "dataschema": "https://lamps.example/s",
    }


def test_header_names_have_no_case() -> None:
    """HTTP 3.1.3.1: header names are case-insensitive."""
    sent = {
        "CE-SpecVersion": "1.0",
        "Ce-Id": "n-1",
        "cE-source": "/lamps",
        "CE-TYPE": "a.b",
        "Content-type": "Text/XML",
    }
    _, request = posted(b"<a/>", sent)
    (event,) = read(KIND, request, [], KIND.config(), "shop").events
    assert (event.external_id, event.payload["data"]) == ("/lamps n-1", "<a/>")


@pytest.mark.parametrize("name", ["my_attr", "data", "datacontenttype", "émigré", ""])
def test_a_header_that_names_no_attribute_is_left_out_by_name(name: str) -> None:
    """Core, Attribute Naming: names MUST be lower-case letters and digits."""
    event = binary(**{name: "x"})
    assert event.entity_id == "L-7"
    assert "x" not in event.payload.values()
    assert event.notes == (f"headers that can't name an attribute were ignored: ce-{name.replace('_', '-')}",)


def test_many_such_headers_make_one_short_note() -> None:
    """Core, Attribute Naming."""
    (note,) = binary(**{f"a_{number}_{'x' * 100}": "" for number in range(50)}).notes
    assert len(note) < 400


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("plain", "plain"),
        ('"a b"', "a b"),
        (r'"a \"b\" \\ c"', r'a "b" \ c'),
        ('"Euro%20%E2%82%AC"', "Euro €"),
        ("Euro%20%e2%82%ac%20%F0%9F%98%80", "Euro € 😀"),
        ("%4C-7", "L-7"),
        ("%2541", "%41"),
        ('"%22a%22"', '"a"'),
        ("%22a b%22", '"a b"'),
        ("100%", "100%"),
        ("a+b (c)", "a+b (c)"),
        ('5" lamp', '5" lamp'),
        ('"open', '"open'),
        ("gr\u00c3\u00bcn", "grün"),  # UTF-8 as it is, which WSGI hands over as Latin-1
    ],
)
def test_header_values_are_unquoted_and_then_percent_decoded_once(written: str, means: str) -> None:
    """HTTP 3.1.3.2: double-quoted values MUST be unescaped first, then one round of percent-decoding MUST follow.

    Lower-case digits and needless encoding MUST be accepted.
    """
    assert binary(subject=written).entity_id == means


@pytest.mark.parametrize("written", ["%ff", "%C0%A0", "%ED%A0%80", '"%E2%82"', "%f8%88%80%80%80"])
@pytest.mark.parametrize("name", ["subject", "shelf"])
def test_what_decodes_to_no_utf_8_is_refused(written: str, name: str) -> None:
    """HTTP 3.1.3.2: sequences that are invalid in UTF-8 MUST be rejected."""
    with pytest.raises(FieldInvalid, match=f"^the header ce-{name} isn't UTF-8$"):
        binary(**{name: written})


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40))
def test_any_attribute_that_is_encoded_as_the_binding_says_arrives(value: str) -> None:
    """HTTP 3.1.3.2: space, double quote, percent and all beyond printable ASCII MUST be percent-encoded."""
    printable = "".join(map(chr, range(0x21, 0x7F))).translate({ord('"'): None, ord("%"): None})
    for written in (quote(value, safe=printable), quote(value, safe="")):
        assert binary(shelf=written).payload["shelf"] == value


def test_headers_beside_a_structured_event_say_nothing() -> None:
    """HTTP 3.2.3: all attributes MUST be in the payload, also where headers repeat them."""
    (event,) = events({"content-type": STRUCTURED, **HEADERS, "ce-subject": "other"}, json.dumps(EVENT).encode())
    assert event.payload == EVENT


def test_what_we_send_is_structured_with_every_attribute_in_the_payload() -> None:
    """HTTP 3.2.1, 3.2.3; JSON 3, 3.1.1: media type, members and data as a JSON value MUST be so."""
    wanted = send.Example("key-1", "price.updated", None, 1, AT, TOKEN, KIND.config())
    body = send.body("cloudevents", wanted)
    headers = KIND.sign(Outgoing("key-1", "price.updated", body, AT), TOKEN, KIND.config())
    assert headers["content-type"] == STRUCTURED
    sent = json.loads(body)
    assert {"specversion", "id", "source", "type"} <= sent.keys()
    assert sent["specversion"] == "1.0"
    assert isinstance(sent["data"], dict)
    assert not [name for name in headers if name.startswith("ce-")]
