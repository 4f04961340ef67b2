"""Every event of Elastic Path's catalogue, in the form that its row documents, and those of no row."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FieldInvalid
from app.events.canonical_json import resolve
from app.events.incoming import Completeness, Incoming, JsonObject, Operation
from app.handlers import handler_for
from app.sources.kinds.elasticpath import KIND
from app.sources.kinds.kind import Config, Outgoing, Request
from app.sources.kinds.read import read
from tests.support import documented
from tests.support.documented import Row

SECRET = "a secret of ours"


def _normalise(body: JsonObject) -> Incoming:
    raw = json.dumps(body).encode()
    request = Request(KIND.sign(Outgoing("", "", raw, 0.0), SECRET, Config()), raw, 0.0)
    KIND.verify(request, [SECRET], Config())
    assert KIND.split(request, Config()) is None
    (event,) = read(KIND, request, [SECRET], Config(), "shop").events
    return event


def _envelope(by: str, payload: Any) -> JsonObject:
    return {"id": "e-1", "triggered_by": by, "attempt": 1, "payload": payload}


ROWS = documented.rows("elasticpath")
TIME = "2026-11-06T21:20:00Z"
CASES = [
    (row, pointers, version.strip())
    for row in ROWS
    for pointers in (documented.paths(row["id"]) if row["id"].startswith("/") else [[]])
    for version in row["version"].split("|")
]
every_case = pytest.mark.parametrize(("row", "pointers", "version"), CASES, ids=[case[0]["topic"] for case in CASES])


def _documented(row: Row, pointers: list[str], version: str) -> tuple[JsonObject, str]:
    """Return a body that has an id and a version where a row says, and the id that must come of it."""
    body: JsonObject = {"id": "e-1", "triggered_by": row["topic"], "attempt": 1, "integration": {"id": "i"}}
    documented.put(body, f"{row['data']}/type", row["entity"].replace("-", "_"))
    for pointer in pointers:
        documented.put(body, pointer, "x-1")
    if version:
        documented.put(body, version, TIME)
    return body, "x-1" if pointers else row["id"].removeprefix("=").replace("event", "e-1")


@every_case
def test_every_documented_event_is_understood(row: Row, pointers: list[str], version: str) -> None:
    body, entity_id = _documented(row, pointers, version)
    event = _normalise(body)
    assert (event.type, event.entity_type, event.entity_id) == (row["type"], row["entity"], entity_id)
    assert event.operation is Operation[row["operation"].upper()]
    assert (event.version.text if event.version else "") == (TIME if version else "")
    assert event.fact is (True if row["role"] == "fact" else None)
    assert event.state is (row["id"] != "event")
    assert event.completeness is (Completeness.COMPLETE if event.state else Completeness.THIN)
    assert isinstance(resolve(event.payload, event.data_pointer), dict)


@every_case
def test_an_event_means_the_same_in_the_envelopes_of_every_era(row: Row, pointers: list[str], version: str) -> None:
    if row["id"] == "event":
        return  # younger than those envelopes
    body, entity_id = _documented(row, pointers, version)
    payload = body.pop("payload")
    held = payload.get("data", payload) if row["data"] == "/payload/data" else payload
    for resources in (payload, json.dumps(payload), [{"type": "other", "id": "other"}, held]):
        event = _normalise(body | {"resources": resources})
        assert (event.entity_type, event.entity_id) == (row["entity"], entity_id)
        assert (event.version.text if event.version else "") == (TIME if version else "")


def test_each_event_has_its_row() -> None:
    assert len(ROWS) == len({row["topic"] for row in ROWS}) == 78
    assert all(row["entity"] == row["topic"].partition(".")[0].lower() for row in ROWS)


@pytest.mark.parametrize("row", [row for row in ROWS if row["id"].startswith("/")], ids=lambda row: row["topic"])
def test_without_its_documented_id_an_event_is_unmapped(row: Row) -> None:
    body, _ = _documented(row, [], "")
    with pytest.raises(FieldInvalid, match=r"^/payload(/data)?/(id|slug) is missing"):
        _normalise(body)


def test_a_catalogue_rule_is_no_promotion() -> None:
    assert handler_for("catalog-rule").model is None
    assert handler_for("catalog_rule").model is not None


@pytest.mark.parametrize(
    "told", ["transaction", "stock-transaction", "stock_transaction", "Stock_Transaction", "", None]
)
def test_an_objects_type_in_another_spelling_is_the_same_entity(told: Any) -> None:
    body = _envelope("stock-transaction.created", {"data": {"id": "t", "type": told}})
    assert _normalise(body).entity_type == "stock-transaction"


@given(st.permutations([f"2026-11-06T21:2{minute}:00Z" for minute in range(5)]), st.integers(0, 4))
def test_a_releases_newest_time_is_its_version_and_a_zero_time_is_none(times: list[str], missing: int) -> None:
    pointers = [one.strip() for one in next(row for row in ROWS if "release.up" in row["topic"])["version"].split("|")]
    body, _ = _documented(next(row for row in ROWS if "release.up" in row["topic"]), ["/payload/id"], "")
    for pointer, value in zip(pointers, times, strict=True):
        documented.put(body, pointer, value)
    documented.put(body, pointers[missing], "0001-01-01T00:00:00Z")
    version = _normalise(body).version
    assert version is not None
    assert version.text == max(value for place, value in enumerate(times) if place != missing)


@pytest.mark.parametrize(
    ("by", "payload", "type_", "entity_type", "entity_id"),
    [
        ("wishlist_ext.updated", {"data": {"id": "w", "type": "wishlist_ext"}}, None, "wishlist_ext", "w"),
        ("wishlist_ext.deleted", {"id": "w"}, None, "wishlist_ext", "w"),
        ("price-book.updated", {"id": "p", "type": "price_book"}, None, "price-book", "p"),
        ("product.updated", {"data": {"type": "product"}}, None, "product", "e-1"),
        ("product.updated", None, None, "product", "e-1"),
        ("a[b].updated", {"id": "p"}, "a-x5Bb-x5D.updated", "a-x5bb-x5d", "p"),
        ("order updated", {"id": "o"}, "order.updated", "order", "o"),
    ],
)
def test_an_unknown_event_falls_back(
    by: str, payload: Any, type_: str | None, entity_type: str, entity_id: str
) -> None:
    event = _normalise(_envelope(by, payload))
    assert (event.type, event.entity_type, event.entity_id) == (type_ or by, entity_type, entity_id)
    assert event.state is (event.fact is None) is (entity_id != "e-1")


def test_a_one_time_password_that_is_sent_again_under_another_id_is_known() -> None:
    payload = {"purpose": "reset_password", "updated_at": TIME}
    body = _envelope("one-time-password-token-request.created", payload)
    first, again = _normalise(body), _normalise(body | {"id": "e-2", "attempt": 2})
    assert first.content_key == again.content_key is not None
