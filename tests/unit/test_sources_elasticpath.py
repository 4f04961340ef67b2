import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ConfigInvalid, FieldInvalid, SignatureInvalid
from app.events.incoming import Incoming, Operation
from app.sources.kinds.elasticpath import HEADER, KIND
from app.sources.kinds.kind import Config, Request
from app.sources.kinds.read import read

SECRET = 'k"7/zürich-secret'
ORDER = {"id": "o-1", "type": "order", "meta": {"timestamps": {"updated_at": "2026-11-06T21:20:00Z"}}}


def _normalise(body: dict[str, Any], secrets: tuple[str, ...] = (SECRET,)) -> Incoming:
    return read(KIND, Request({}, json.dumps(body).encode(), 0.0), secrets, Config(), "shop").events[0]


def _event(**over: Any) -> dict[str, Any]:
    return {"id": "e-1", "triggered_by": "order.updated", "attempt": 1, "payload": {"data": ORDER}} | over


@pytest.mark.parametrize("value", ["x", SECRET[:-1], SECRET + "x", SECRET.upper(), "\ud800", "日本", "\x00"])
def test_only_the_very_secret_is_accepted(value: str) -> None:
    with pytest.raises(SignatureInvalid):
        KIND.verify(Request({HEADER: value}, b"", 0.0), [SECRET], Config())


def test_a_secret_beyond_ascii_arrives_as_wsgi_hands_it_over() -> None:
    KIND.verify(Request({HEADER: SECRET.encode().decode("latin-1")}, b"", 0.0), [SECRET], Config())


@pytest.mark.parametrize("secret", ["short", " leading-space", "trailing-space ", "new\nline-in-it"])
def test_a_secret_that_cannot_be_a_header_is_refused(secret: str) -> None:
    with pytest.raises(ConfigInvalid):
        KIND.check_secret(secret)


SPREAD = st.recursive(
    st.sampled_from([SECRET, f"a{SECRET}b", json.dumps({"k": SECRET}), SECRET * 2, "harmless", SECRET + "-newer"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([SECRET, "k", f"k-{SECRET}"]), inner),
)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


@given(SPREAD, SPREAD, st.booleans())
def test_no_secret_leaves_normalise(payload: Any, resources: Any, folded: bool) -> None:
    body = _event(
        id=f"e-{SECRET}",
        payload={"data": ORDER | {"id": f"o-{SECRET}-1", "extra": payload}},
        resources=json.dumps(resources) if folded else resources,
        configuration={"secret_key": "one that is no longer valid"},
    )
    incoming = _normalise(body, (SECRET, SECRET + "-newer"))
    for form in (SECRET, json.dumps(SECRET)[1:-1], json.dumps(SECRET, ensure_ascii=False)[1:-1], "-newer"):
        assert not [text for text in _texts(incoming.payload) if form in text]
        assert form not in incoming.external_id + incoming.entity_id
    assert incoming.payload["configuration"] == {"secret_key": "[redacted]"}


def test_without_secrets_nothing_but_the_known_field_is_redacted() -> None:
    incoming = _normalise(_event(note="kept", configuration={"url": "u", "secret_key": 5}), ())
    assert incoming.payload["note"] == "kept"
    assert incoming.payload["configuration"] == {"url": "u", "secret_key": "[redacted]"}


@pytest.mark.parametrize("configuration", [None, "text", [], {}, {"url": "u"}])
def test_any_shape_of_configuration_is_kept(configuration: Any) -> None:
    assert _normalise(_event(configuration=configuration)).payload["configuration"] == configuration


def test_the_content_key_survives_a_new_id_attempt_and_secret() -> None:
    first = _normalise(_event(configuration={"secret_key": SECRET}))
    again = _normalise(_event(id="e-2", attempt=2, configuration={"secret_key": "rotated"}), (SECRET, "rotated"))
    assert first.content_key is not None
    assert first.content_key == again.content_key
    assert first.external_id != again.external_id


@pytest.mark.parametrize(
    "other",
    [
        {"triggered_by": "order.paid"},
        {"integration": {"id": "i-2"}},
        {"payload": {"data": ORDER | {"id": "o-2"}}},
        {"payload": {"data": ORDER | {"type": "basket"}}},
        {"payload": {"data": ORDER | {"status": "paid"}}},
        {"payload": {"data": ORDER | {"meta": {"timestamps": {"updated_at": "2026-11-06T21:20:00.000Z"}}}}},
        {"triggered_by": "order.deleted"},
    ],
)
def test_the_content_key_tells_contents_apart(other: dict[str, Any]) -> None:
    keys = {_normalise(_event()).content_key, _normalise(_event(**other)).content_key}
    assert len(keys) == 2
    assert None not in keys


def test_without_a_version_only_a_delete_has_a_content_key() -> None:
    bare = {"payload": {"id": "o-1", "type": "order"}}
    assert _normalise(_event(**bare)).content_key is None
    assert _normalise(_event(**bare, triggered_by="order.deleted")).content_key is not None


def test_a_delete_never_carries_a_version() -> None:
    incoming = _normalise(_event(triggered_by="order.deleted"))
    assert (incoming.operation, incoming.version, incoming.reuses_ids) == (Operation.DELETE, None, False)


@pytest.mark.parametrize(
    ("timestamps", "event_type", "text"),
    [
        ({"created_at": "2026-01-01T00:00:00Z"}, "order.created", "2026-01-01T00:00:00Z"),
        ({"created_at": "2026-01-01T00:00:00Z"}, "order.updated", None),
        ({"created_at": "2026-01-01T00:00:00Z", "updated_at": None}, "order.updated", None),
        ({"created_at": "2026-01-01T00:00:00Z", "updated_at": ""}, "order.updated", None),
        ({"updated_at": "0001-01-01T00:00:00Z"}, "order.updated", None),
        (
            {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z"},
            "order.created",
            "2026-01-02T00:00:00Z",
        ),
        ([], "order.updated", None),
    ],
)
def test_an_entitys_own_timestamps_are_its_version(timestamps: Any, event_type: str, text: str | None) -> None:
    body = _event(triggered_by=event_type, payload={"data": ORDER | {"meta": {"timestamps": timestamps}}})
    version = _normalise(body).version
    assert (version and version.text) == text


@pytest.mark.parametrize(
    ("payload", "resources", "pointer"),
    [
        ({"data": ORDER}, [ORDER], "/payload/data"),
        (ORDER, None, "/payload"),
        (ORDER | {"data": {"id": "inner", "type": "order"}}, None, "/payload"),
        (None, {"data": ORDER}, "/resources/data"),
        ({}, ORDER, "/resources"),
        ("text", [1, {"type": "x", "id": "x"}, ORDER], "/resources/2"),
        (None, [{"type": "purchase", "id": "o-1"}], "/resources/0"),
        (None, {"data": [ORDER]}, "/resources/data/0"),
        (None, json.dumps([ORDER]), "/resources/0"),
        (None, json.dumps(ORDER), "/resources"),
    ],
)
def test_the_entity_is_found_in_every_era(payload: Any, resources: Any, pointer: str) -> None:
    incoming = _normalise(_event(payload=payload, resources=resources))
    assert (incoming.data_pointer, incoming.entity_id) == (pointer, "o-1")


@pytest.mark.parametrize("resources", [None, "", "{", "5", '"text"', '{"a":1,"a":2}', "[" * 99, [], [1], {}, 5])
def test_an_event_without_an_entity_is_refused(resources: Any) -> None:
    with pytest.raises(FieldInvalid, match="/payload is missing"):
        _normalise(_event(payload=None, resources=resources))


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"id": None}, "/id"),
        ({"id": ["e"]}, "/id"),
        ({"triggered_by": None}, "/triggered_by"),
        ({"triggered_by": 5}, "/triggered_by"),
        ({"triggered_by": ""}, "/triggered_by"),
        ({"payload": {"data": ORDER | {"id": None}}}, "/payload/data/id"),
        ({"payload": {"data": ORDER | {"type": 5}}}, "/payload/data/type"),
        (
            {"payload": {"data": ORDER | {"meta": {"timestamps": {"updated_at": "soon"}}}}},
            "/payload/data/meta/timestamps/updated_at",
        ),
    ],
)
def test_a_refusal_names_the_field(over: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldInvalid, match=f"^{field} "):
        _normalise(_event(**over))


def test_a_missing_type_is_read_from_the_event_and_a_given_one_in_lower_case() -> None:
    assert _normalise(_event(payload={"data": {"id": "o-1"}})).entity_type == "order"
    assert _normalise(_event(payload={"data": {"id": "o-1", "type": "Custom_Item"}})).entity_type == "custom_item"
