"""The vendors that the kind ``hmac`` knows by name: every row of their catalogues, presets and options."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FieldInvalid
from app.events.incoming import JsonObject, Operation
from app.sources.kinds import github_events
from app.sources.kinds.catalogue import Topic, catalogue
from app.sources.kinds.hmac import VENDORS
from app.sources.kinds.hmac_config import PRESETS, HmacConfig, VendorName
from app.sources.kinds.woocommerce_topics import _ACTION
from tests.support.vendor_deliveries import NAMES, receive

ISO = "2026-11-06T21:19:00Z"
ROWS = [(name, row) for name in NAMES for row in catalogue(name).values()]
ELSEWHERE = {"invoice.upcoming", "billing.alert.triggered", "balance.available", "balance_settings.updated"}
ELSEWHERE |= {"tax.settings.updated", _ACTION, "star.created", "star.deleted"}
"""Topics of which something else stands in for an id that is missing, or that have one of several parts."""
IDENTIFIED = [
    (name, row)
    for name, row in ROWS
    if row.id.paths and row.topic not in ELSEWHERE and (name, row.operation) != ("woocommerce", Operation.DELETE)
]
by_row = pytest.mark.parametrize(("name", "row"), ROWS, ids=lambda value: getattr(value, "topic", value))


def put(body: JsonObject, pointer: str, value: Any) -> None:
    *steps, last = pointer.removeprefix("/").split("/")
    for step in steps:
        body = body.setdefault(step, {})
    body.setdefault(last, value)


def documented(name: VendorName, row: Topic) -> tuple[JsonObject, dict[str, str]]:
    """Return the body and the headers that a vendor documents for a topic, by the row's own pointers."""
    body: JsonObject = {}
    if row.data_pointer:
        put(body, row.data_pointer, {})
    for pointer in row.id.paths[0] if row.id.paths else ():
        put(body, pointer, f"{pointer.split('/')[1]}-7")
    for pointer in row.version:
        put(body, pointer, ISO)
    if name == "stripe":
        put(body, "/type", row.topic)
        put(body, "/id", "evt_1")
        put(body, "/data/object/object", row.entity_type)
        return body, {}
    if name == "woocommerce":
        topic = row.topic.replace("<hook>", "woocommerce_flush")
        if topic != row.topic:
            body["action"] = "woocommerce_flush"
        return body, {"x-wc-webhook-topic": topic, "x-wc-webhook-delivery-id": "d-1"}
    event, _, action = row.topic.partition(".")
    body |= {"action": action} if action else {}
    body |= {"repository": {"id": "repository-7"}, "sender": {"id": "sender-7"}, **body}
    body |= {key: body.get(key) for key in github_events.besides(row)}
    return body, {"x-github-event": event, "x-github-delivery": "d-1"}


@by_row
def test_a_documented_body_of_each_topic_is_understood(name: VendorName, row: Topic) -> None:
    body, headers = documented(name, row)
    (event,) = receive(body, headers, HmacConfig(vendor=name))
    action = row.topic == _ACTION
    assert event.type == ("action.woocommerce_flush" if action else row.type)
    assert event.entity_type == ("action.woocommerce_flush" if action else row.entity_type)
    if row.id.is_event:
        assert (event.entity_id, event.state, event.fact) == (event.external_id, False, True)
    else:
        assert event.entity_id == "/".join(f"{one.split('/')[1]}-7" for one in row.id.paths[0])
        assert event.fact is (True if row.fact else None)
    assert (event.version is None) == (not row.version)
    assert event.version is None or event.version.text == ISO
    assert event.operation is row.operation
    assert event.data_pointer == row.data_pointer
    assert event.reuses_ids == (name == "woocommerce" or row.entity_type == "star")


@pytest.mark.parametrize(("name", "row"), IDENTIFIED, ids=lambda value: getattr(value, "topic", value))
def test_a_documented_id_that_is_missing_is_named(name: VendorName, row: Topic) -> None:
    body, headers = documented(name, row)
    pointer = row.id.paths[0][0]
    *steps, last = pointer.removeprefix("/").split("/")
    held = body
    for step in steps:
        held = held[step]
    del held[last]
    with pytest.raises(FieldInvalid, match=f"^{pointer} is missing$"):
        receive(body, headers, HmacConfig(vendor=name, trust_type_header=True))


def test_every_row_of_stripes_says_what_the_rule_for_new_topics_would() -> None:
    """So a topic that Stripe adds tomorrow is read as if it stood there."""
    for row in catalogue("stripe").values():
        body = {"data": {"object": {"object": row.entity_type, "id": "x"}}}
        new = VENDORS["stripe"].row(f"new.{row.topic}", body)
        assert (new.entity_type, new.operation, new.fact) == (row.entity_type, row.operation, row.fact)
        assert (new.id.paths[0], new.version, new.data_pointer) == (row.id.paths[0], row.version, row.data_pointer)
        assert row.type == row.topic


def test_no_deletes_of_githubs_have_the_same_body() -> None:
    rows = [row for row in catalogue("github").values() if row.operation is Operation.DELETE]
    assert len({github_events.besides(row) for row in rows}) == len(rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_not_stored_and_what_the_user_sets_wins(name: VendorName) -> None:
    config = HmacConfig(vendor=name)
    assert {option: getattr(config, option) for option in PRESETS[name]} == dict(PRESETS[name])
    assert config.model_dump(mode="json", by_alias=True, exclude_unset=True) == {"vendor": name}
    own = {"header": "x-own", "prefix": "p=", "encoding": "hex", "signed_timestamp": False, "reuses_ids": False}
    told = HmacConfig.model_validate({"vendor": name, **own, "type": "a.b", "key_header": "x-key"})
    assert {option: getattr(told, option) for option in own} == own
    assert (told.type_header, told.key_pointer, told.key_header) == (None, None, "x-key")
    again = HmacConfig.model_validate(told.model_dump(mode="json", by_alias=True, exclude_unset=True))
    assert again == told
    assert again.model_fields_set == told.model_fields_set


@pytest.mark.parametrize(
    ("options", "vendor"),
    [
        ({"header": "Stripe-Signature"}, "stripe"),
        ({"header": "X-WC-Webhook-Signature"}, "woocommerce"),
        ({"header": "stripe-signature", "vendor": None}, None),
        ({"header": "x-signature"}, None),
        ({}, None),
        ({"vendor": "github", "header": "x-signature"}, "github"),
    ],
)
def test_the_vendor_is_known_by_its_signatures_header(options: dict[str, Any], vendor: str | None) -> None:
    assert HmacConfig.model_validate(options).vendor == vendor


GITHUB: JsonObject = {
    "action": "opened",
    "issue": {"id": 5, "updated_at": ISO},
    "repository": {"id": 1},
    "sender": {"id": 2},
}


def test_githubs_header_counts_only_where_nobody_said_otherwise() -> None:
    headers = {"x-github-event": "issues"}
    assert receive(GITHUB, headers, HmacConfig())[0].type == "issue.opened"
    assert receive(GITHUB, {}, HmacConfig())[0].type == "event.received"
    assert receive(GITHUB, headers, HmacConfig(vendor=None))[0].type == "event.received"
    assert receive(GITHUB, headers, HmacConfig(header="x-signature"))[0].type == "event.received"


CHARGE = {"type": "charge.failed", "created": 5, "data": {"object": {"object": "charge", "id": "ch_1"}}}
OWN = {"type_pointer", "entity_pointer", "id_pointer", "version_pointer", "operation_pointer", "data_pointer"}
STATED = {"kind": "thing.changed", "noun": "thing", "key": 9, "at": 7, "verb": "removed", "held": {"a": 1}}


@given(
    told=st.sets(st.sampled_from(sorted(OWN))),
    case=st.sampled_from(
        [
            ("stripe", CHARGE, {}),
            ("woocommerce", {"id": 4, "date_modified_gmt": ISO}, {"x-wc-webhook-topic": "order.created"}),
            ("github", GITHUB, {"x-github-event": "issues"}),
        ]
    ),
)
def test_every_option_that_the_user_sets_wins_over_the_catalogue(told: set[str], case: Any) -> None:
    name, body, headers = case
    pointers = dict(zip(sorted(OWN), ("/held", "/noun", "/key", "/verb", "/kind", "/at"), strict=True))
    config = HmacConfig.model_validate({"vendor": name, **{option: pointers[option] for option in told}})
    (event,) = receive({**body, **STATED}, headers, config)
    (bare,) = receive({**body, **STATED}, headers, HmacConfig(vendor=name))
    typed, identified = "type_pointer" in told, "id_pointer" in told
    assert event.type == ("thing.changed" if typed else bare.type)
    assert event.entity_type == ("thing" if typed or "entity_pointer" in told else bare.entity_type)
    assert event.entity_id == ("9" if identified else bare.entity_id)
    by_type = Operation.UPDATE if typed else bare.operation
    assert event.operation is (Operation.DELETE if "operation_pointer" in told else by_type)
    assert event.version is None or event.version.text == ("7" if "version_pointer" in told else bare.version.text)  # type: ignore[union-attr]
    assert event.data_pointer == ("/held" if "data_pointer" in told else "" if identified else bare.data_pointer)


def test_options_for_another_event_take_no_id_of_it_for_this_one() -> None:
    """An id that isn't where the options look is the catalogue's, but only under the catalogue's type."""
    headers = {"x-github-event": "label"}
    body = {"action": "created", "label": {"id": 3}, "repository": {"id": 1}}
    (event,) = receive(body, headers, HmacConfig(vendor="github", id_pointer="/issue/id"))
    assert (event.entity_type, event.entity_id) == ("label", "3")
    for fixed in ({"entity_type": "issue"}, {"type": "issue.opened"}):
        with pytest.raises(FieldInvalid, match=r"/issue/id \(option id_pointer\) is missing"):
            receive(body, headers, HmacConfig.model_validate({"vendor": "github", "id_pointer": "/issue/id", **fixed}))


def test_a_delete_deletes_nothing_under_an_id_of_the_options_own() -> None:
    body = {**GITHUB, "action": "deleted", "comment": {"id": 8, "updated_at": ISO}}
    (event,) = receive(body, {"x-github-event": "issue_comment"}, HmacConfig(vendor="github", id_pointer="/issue/id"))
    assert (event.entity_id, event.operation, event.version) == ("5", Operation.UPDATE, None)
