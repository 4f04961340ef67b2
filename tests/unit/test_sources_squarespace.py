import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FieldInvalid
from app.events.canonical_json import resolve
from app.events.incoming import Completeness, Incoming, JsonObject, Operation
from app.handlers import handler_for
from app.handlers.requests import wish
from app.models import RequestKind
from app.sources.kinds import KINDS, Request
from app.sources.kinds.kind import Outgoing
from app.sources.kinds.read import read
from tests.support import documented
from tests.support.documented import Row

KIND = KINDS["squarespace"]
SECRET = "a1" * 32
ROWS = documented.rows("squarespace")


def _read(body: JsonObject) -> Incoming:
    raw = json.dumps(body).encode()
    request = Request(KIND.sign(Outgoing("k", "", raw, 0.0), SECRET, None), raw, 0.0)
    KIND.verify(request, [SECRET], KIND.config())
    assert KIND.split(request, KIND.config()) is None
    (event,) = read(KIND, request, [SECRET], KIND.config(), "shop").events
    return event


def _body(topic: Any, data: Any) -> JsonObject:
    return {"id": "n-1", "websiteId": "w", "topic": topic, "createdOn": "2026-11-06T21:20+00:00", "data": data}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["topic"])
def test_every_documented_topic_is_understood(row: Row) -> None:
    topic, _, update = row["topic"].partition(" ")
    body = _body(topic, {"update": update} if update else {})
    documented.put(body, row["id"], "o-1")
    event = _read(body)
    assert (event.type, event.entity_type, event.entity_id) == (row["type"], row["entity"], "o-1")
    assert (event.external_id, event.version, event.state) == ("n-1", None, True)
    assert event.operation is Operation[row["operation"].upper()]
    assert event.fact is (True if row["role"] == "fact" else None)
    assert event.completeness is Completeness.THIN
    with pytest.raises(FieldInvalid, match=f"^{row['id']} is missing"):
        _read(body | {"data": {"update": update}})


@pytest.mark.parametrize("update", [None, "", "SHIPPED", 5, {}, [], "fulfilled"])
def test_an_update_that_is_not_documented_is_an_update(update: Any) -> None:
    event = _read(_body("order.update", {"orderId": "o-1", "update": update}))
    assert (event.type, event.fact, event.entity_id) == ("order.updated", None, "o-1")


def test_what_happened_to_an_order_is_a_fact_by_the_orders_own_handler_too() -> None:
    assert all(
        handler_for("order").is_fact(row["type"]) for row in ROWS if row["entity"] == "order" and row["role"] == "fact"
    )


@pytest.mark.parametrize(
    ("topic", "data", "type_", "entity_type", "entity_id"),
    [
        ("product.update", {"productId": "p"}, "product.updated", "product", "p"),
        ("product.delete", {"id": "p"}, "product.deleted", "product", "p"),
        ("product.update", {"orderId": "o"}, "product.updated", "product", "n-1"),
        ("product.update", None, "product.updated", "product", "n-1"),
        ("test", {}, "test", "test", "n-1"),
        ("a.b[c].create", {"id": 7}, "a.b-x5Bc-x5D.created", "a", "7"),
    ],
)
def test_an_unknown_topic_falls_back_and_takes_no_other_things_id(
    topic: str, data: Any, type_: str, entity_type: str, entity_id: str
) -> None:
    event = _read(_body(topic, data))
    assert (event.type, event.entity_type, event.entity_id) == (type_, entity_type, entity_id)
    assert event.state is (event.fact is None) is (entity_id != "n-1")


@pytest.mark.parametrize("topic", [None, "", 5, "\x00"])
def test_without_a_topic_nothing_can_be_said(topic: Any) -> None:
    with pytest.raises(FieldInvalid, match=r"^/topic "):
        _read(_body(topic, {"orderId": "o"}))


@given(st.text(max_size=30))
def test_any_topic_is_read_or_refused_by_name(topic: str) -> None:
    try:
        assert _read(_body(topic, {})).fact
    except FieldInvalid as error:
        assert str(error).startswith(("/topic ", "/data/"))  # noqa: PT017  # either may happen


def test_an_uninstalled_extension_asks_to_leave() -> None:
    event = _read(_body("extension.uninstall", {"clientId": "c-1"}))
    asked = wish(event.type, resolve(event.payload, event.data_pointer))
    assert asked is not None
    assert (asked.kind, asked.subject) == (RequestKind.LEAVE, {"client_id": "c-1"})
