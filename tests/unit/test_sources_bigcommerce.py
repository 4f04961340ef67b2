import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli import bodies
from app.errors import FieldInvalid
from app.events.canonical_json import resolve
from app.events.incoming import Completeness, Incoming, JsonObject, Operation
from app.handlers import handler_for
from app.handlers.requests import wish
from app.models import RequestKind
from app.sources.kinds import KINDS, Request
from app.sources.kinds.bigcommerce import read_scope
from app.sources.kinds.kind import Outgoing
from app.sources.kinds.read import read
from tests.support import documented
from tests.support.documented import Row

KIND = KINDS["bigcommerce"]
SECRET = "a client secret, its own bytes"
AT = 1_794_000_000
ROWS = documented.rows("bigcommerce")
STOCK = {"type": "sku", "id": 5, "inventory": {"method": "relative", "value": -1, "product_id": 4, "variant_id": 9}}


def _read(body: JsonObject, key: str = "m") -> list[Incoming]:
    raw = json.dumps(body).encode()
    request = Request(KIND.sign(Outgoing(key, "", raw, float(AT)), SECRET, None), raw, float(AT))
    KIND.verify(request, [SECRET], KIND.config())
    assert KIND.split(request, KIND.config()) is None
    return list(read(KIND, request, [SECRET], KIND.config(), "shop").events)


def _body(scope: str, data: Any, **over: Any) -> JsonObject:
    base = {"scope": scope, "store_id": "1000", "producer": "stores/abc", "data": data}
    return base | {"hash": hashlib.sha256(repr(data).encode()).hexdigest()[:40], "created_at": AT - 1} | over


DOCUMENTED = [
    pytest.param(row, pointers, id=f"{row['topic']}-{number}")
    for row in ROWS
    for number, pointers in enumerate(documented.alternatives(row))
]


def _made(row: Row, pointers: list[str]) -> tuple[JsonObject, list[str]]:
    """Return a body that has ids where a row says, and the ids that must come of it."""
    body = _body(row["topic"].replace("{channel_id}", "77"), {})
    if row["id"].startswith("each"):
        array = row["id"].removeprefix("each ").partition(":")[0]
        if pointers == ["."]:
            documented.put(body, array, [41, 42])
            return body, ["41", "42"]
        made = [documented.filled(pointers, number) for number in (4, 5)]
        documented.put(body, array, [held for held, _ in made])
        return body, ["/".join(ids) for _, ids in made]
    held, ids = documented.filled([pointer for pointer in pointers if pointer != "topic"])
    for name in ("store_id", "producer"):
        body.pop(name)  # each stands in for the other
    body |= held
    return body, ["/".join(["77"] * ("topic" in pointers) + ids)]


@pytest.mark.parametrize(("row", "pointers"), DOCUMENTED)
def test_every_documented_scope_is_understood(row: Row, pointers: list[str]) -> None:
    body, ids = _made(row, pointers)
    events = _read(body)
    assert [event.entity_id for event in events] == ids
    for event in events:
        assert (event.type, event.entity_type) == (row["type"], row["entity"])
        assert event.operation is Operation[row["operation"].upper()]
        assert event.version is not None
        assert event.version.text == str(AT - 1)
        assert event.fact is (True if row["role"] == "fact" else None)
        assert event.state
        assert event.completeness is Completeness[row["completeness"].upper()]
        assert event.operation is Operation.DELETE or isinstance(resolve(body, event.data_pointer), dict)
    assert len({event.external_id for event in events}) == len(events)


@pytest.mark.parametrize(("row", "pointers"), DOCUMENTED)
def test_without_its_documented_id_a_scope_is_unmapped_and_says_what_is_missing(row: Row, pointers: list[str]) -> None:
    body = _made(row, pointers)[0]
    body["data"], body["scope"] = {}, body["scope"].replace("/77/", "/*/")
    with pytest.raises(FieldInvalid, match=r"^/\w+"):
        _read({name: value for name, value in body.items() if name not in {"store_id", "producer"}})


@pytest.mark.parametrize("type_", sorted({row["type"] for row in ROWS}))
def test_what_tiercel_sends_is_what_it_takes(type_: str) -> None:
    wanted = bodies.Example("k", type_, None, 1, float(AT), SECRET, KIND.config())
    made = json.loads(bodies.body("bigcommerce", wanted))
    (event,) = _read(made)
    assert event.type == type_
    assert set(made) == {"scope", "store_id", "producer", "hash", "created_at", "data"}


def test_each_scope_has_its_row() -> None:
    assert len(ROWS) == 179
    read_scopes = [read_scope(row["topic"]) for row in ROWS]
    assert len({scope.name for scope in read_scopes if scope}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["topic"])
def test_names_follow_one_form_and_nothing_thin_fills_rows(row: Row) -> None:
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", row["entity"])
    assert row["type"].startswith(row["entity"] + ".")
    model = handler_for(row["entity"]).model
    assert model is None or row["operation"] == "delete" or row["completeness"] == "thin"


@given(st.sampled_from(ROWS), st.integers(0, 10**9), st.sampled_from(["", "/", "//"]), st.booleans())
def test_empty_steps_and_a_channels_number_make_no_other_topic(
    row: Row, channel: int, end: str, numbered: bool
) -> None:
    written = row["topic"].strip("/")
    if numbered:
        written = written.replace("{channel_id}", str(channel)).replace("*", str(channel))
    assert read_scope(written.replace("/", "//", 1) + end) == read_scope(written)
    scope, as_written = read_scope(written), read_scope(row["topic"])
    assert scope is not None
    assert as_written is not None
    assert scope.name == as_written.name
    assert scope.channel == (str(channel) if numbered and written != row["topic"].strip("/") else None)


@pytest.mark.parametrize(
    "scope", ["0", " ", "x", "\U0001f600", "store", "store/", "1/2/3", "store/updated", "shop/a/b", "", None, 5]
)
def test_a_scope_of_any_other_form_is_refused_by_name(scope: Any) -> None:
    """The fuzz found the first four: a scope without a slash was a 500."""
    with pytest.raises(FieldInvalid, match="/scope"):
        _read(_body(scope, {"id": 1}))


@pytest.mark.parametrize(
    ("scope", "data", "entity_type", "entity_id", "type_"),
    [
        ("store/coupon/created", {"type": "coupon", "id": 3}, "coupon", "3", "coupon.created"),
        ("store/coupon/created", {"id": 3}, "coupon", "3", "coupon.created"),
        ("store/channel/7/coupon/created", {"coupon_id": 3}, "channel_coupon", "3", "channel_coupon.created"),
        ("store/order/note/created", {"type": "order", "id": 3}, "order_note", "m", "order_note.created"),
        (
            "store/order/note/created",
            {"type": "order", "id": 3, "note_id": 4},
            "order_note",
            "4",
            "order_note.created",
        ),
        ("store/coupon/created", {}, "coupon", "m", "coupon.created"),
        ("store/coupon/created", [], "coupon", "m", "coupon.created"),
        ("store/coupon/created", [{"id": 3}], "coupon", "m", "coupon.created"),
        ("store/a b/c[d]", {"id": 3}, "a", "3", "a.b.c-x5Bd-x5D"),
    ],
)
def test_a_scope_of_no_catalogue_falls_back_and_never_takes_its_parents_id(
    scope: str, data: Any, entity_type: str, entity_id: str, type_: str
) -> None:
    (event,) = _read(_body(scope, data))
    assert (event.entity_type.partition(".")[0], event.entity_id, event.type) == (entity_type, entity_id, type_)
    assert event.state is (event.fact is None) is (entity_id != "m")
    assert event.completeness is Completeness.THIN


@given(st.lists(st.text(max_size=8), min_size=1, max_size=6).map("/".join))
def test_any_scope_is_read_or_refused_by_name(scope: str) -> None:
    try:
        (event,) = _read(_body(f"store/{scope}", {"type": "store"}))
    except FieldInvalid as error:
        assert str(error).startswith("/")  # noqa: PT017  # either may happen
    else:
        assert event.entity_type == event.entity_type.lower()


@pytest.mark.parametrize("scope", ["store/sku/inventory/updated", "store/sku/inventory/order/updated"])
def test_a_stock_is_a_state_where_it_is_told_and_a_fact_where_its_change_is(scope: str) -> None:
    (change,) = _read(_body(scope, STOCK))
    (level,) = _read(_body(scope, STOCK | {"inventory": {"method": "absolute", "value": 4}}))
    assert (change.fact, change.state, change.completeness) == (True, False, Completeness.DIFFERENCE)
    assert (level.fact, level.state, level.completeness) == (None, True, Completeness.COMPLETE)
    assert change.entity_id == level.entity_id == "5"


def test_the_same_notification_under_another_webhook_id_has_the_same_content_key() -> None:
    body = _body("store/order/refund/created", {"type": "order", "id": 1, "refund": {"refund_id": 2}})
    (first,), (second,) = _read(body, "m-1"), _read(body, "m-2")
    assert first.external_id != second.external_id
    assert first.content_key == second.content_key is not None


@pytest.mark.parametrize(
    "over",
    [{"scope": "store/cart/deleted"}, {"data": {"id": 2}}, {"created_at": AT}, {"hash": "0"}, {"store_id": "2"}],
)
def test_the_content_key_is_over_all_of_the_body_not_over_the_hash_alone(over: JsonObject) -> None:
    body = _body("store/cart/updated", {"id": 1})
    (first,), (second,) = _read(body), _read(body | over)
    assert first.content_key != second.content_key


@pytest.mark.parametrize(
    "body",
    [
        _body("store/sku/inventory/order/updated", STOCK),
        _body("store/cart/updated", {"id": 1}, created_at=None),
        _body("store/cart/updated", {"id": 1}, hash=None),
        _body("store/cart/updated", {"id": 1}, hash=""),
    ],
)
def test_where_two_happenings_may_have_one_body_the_webhook_id_alone_tells_them_apart(body: JsonObject) -> None:
    assert _read(body)[0].content_key is None


def test_the_records_of_one_notification_have_keys_of_their_own_however_often_it_comes() -> None:
    records = [{"price_list_id": 1, "variant_id": number, "currency": "EUR"} for number in (1, 2)]
    body = _body("store/priceList/records/updated", records)
    first, second = _read(body, "m-1"), _read(body, "m-2")
    assert len({event.external_id for event in first + second}) == 4
    assert [event.content_key for event in first] == [event.content_key for event in second]
    assert len({event.content_key for event in first}) == 2


@pytest.mark.parametrize("created_at", ["soon", -1, True, {}, [], "1793999999"])
@pytest.mark.parametrize("scope", ["store/cart/updated", "store/coupon/updated"])
def test_a_time_that_cannot_be_read_is_unmapped_but_a_rule_of_the_sources_own_may_do_without(
    scope: str, created_at: Any
) -> None:
    body = _body(scope, {"id": 1}, created_at=created_at)
    with pytest.raises(FieldInvalid, match=r"^/created_at "):
        _read(body)
    request = Request({"webhook-id": "m"}, json.dumps(body).encode(), 0.0)
    config = KIND.config.model_validate({"mapping": {"store/*": {"id": "/data/id"}}})
    (event,) = read(KIND, request, [], config, "shop").events
    assert (event.entity_id, event.version) == ("1", None)


@pytest.mark.parametrize("created_at", [None, ""])
def test_no_time_is_no_version(created_at: Any) -> None:
    assert _read(_body("store/cart/updated", {"id": 1}, created_at=created_at))[0].version is None


@pytest.mark.parametrize("scope", ["store/app/uninstalled", "store/app/uninstalled/"])
@pytest.mark.parametrize("data", [{"type": "store"}, {}, None])
def test_an_uninstalled_app_asks_to_leave(scope: str, data: Any) -> None:
    (event,) = _read(_body(scope, data))
    asked = wish(event.type, resolve(event.payload, event.data_pointer))
    assert (event.entity_type, event.fact, handler_for(event.entity_type).asks) == ("app", True, True)
    assert asked is not None
    assert (asked.kind, asked.subject) == (RequestKind.LEAVE, {"shop_id": "1000", "shop": "stores/abc"})


def test_nothing_else_of_bigcommerces_asks_to_leave() -> None:
    (event,) = _read(_body("store/information/updated", {"type": "store"}))
    assert wish(event.type, event.payload) is None
    assert wish("app.uninstalled", {"type": "store"}) is None
