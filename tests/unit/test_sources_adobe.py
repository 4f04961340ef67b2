"""Adobe Commerce: every row of its catalogue, aliases, codes that aren't in it, batches and whom they are for."""

import base64
import json
import re
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import BodyTooLarge, FieldInvalid, RecipientWrong
from app.events.incoming import Incoming, JsonObject, Operation
from app.sources.kinds import KINDS, Request, adobe_events
from app.sources.kinds.adobe_signature import is_for
from app.sources.kinds.catalogue import Topic, catalogue
from app.sources.kinds.kind import Outgoing
from app.sources.kinds.ndjson import MOST_EVENTS
from app.sources.kinds.read import read

KIND = KINDS["adobe-io"]
SECRET = "a client secret of Adobe's"
CONFIG = KIND.config.model_validate({"client_id": "us"})
SENT = "2026-11-06T21:19:59.436Z"
SAVED = "2026-11-06 21:18:30"
TOPICS = catalogue("adobe")
ROWS = [pytest.param(topic, id=topic.topic) for topic in TOPICS.values()]
SAAS = re.findall(
    r"\S+",
    """
observer.catalog_category_delete_after observer.catalog_category_save_after
observer.catalog_product_delete_commit_after observer.catalog_product_save_after
observer.catalog_product_save_commit_after observer.cataloginventory_stock_item_save_commit_after
observer.checkout_cart_product_add_after observer.checkout_submit_all_after observer.company_save_commit_after
observer.customer_delete_commit_after observer.customer_group_delete_commit_after
observer.customer_group_save_commit_after observer.customer_login observer.customer_register_success
observer.customer_save_after observer.customer_save_commit_after
observer.customercustomattributes_attribute_save observer.sales_quote_save_after observer.rma_save_after
observer.rma_save_commit_after observer.sales_order_creditmemo_save_after observer.sales_order_invoice_save_after
observer.sales_order_save_after observer.sales_order_save_commit_after observer.sales_order_shipment_save_after
observer.sales_order_shipment_track_save_after observer.sales_order_status_history_save_after
observer.salesrule_save_commit_after observer.salesrule_rule_save_after plugin.sales.api.order_management.place
plugin.sales.api.order_repository.save plugin.sales_rule.api.rule_repository.save
plugin.sales_rule.model.resource_model.coupon.delete plugin.sales_rule.model.resource_model.coupon.save
""",
)
"""What Adobe's events reference lists for Commerce as a Cloud Service."""
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.just("us"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["recipientclientid", "event", "body", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def event(code: str, value: Any, **more: Any) -> JsonObject:
    return {
        "id": "1",
        "eventid": "evt-1",
        "recipientclientid": "us",
        "type": f"com.adobe.commerce.{code}",
        "time": SENT,
        "data": {"value": value},
        **more,
    }


def receive(body: Any) -> list[Incoming]:
    raw = json.dumps(body).encode()
    request = Request(KIND.sign(Outgoing("k", "", raw, 0.0), SECRET, CONFIG), raw, 0.0)
    KIND.verify(request, [SECRET], CONFIG)
    parts = KIND.split(request, CONFIG)
    return [
        found
        for part in ([request] if parts is None else parts)
        for found in read(KIND, part, [SECRET], CONFIG, "shop").events
    ]


def put(body: JsonObject, pointer: str, value: Any) -> None:
    *steps, last = pointer.removeprefix("/").split("/")
    for step in steps:
        body = body.setdefault(step, {})
    body[last] = value


@pytest.mark.parametrize("code", SAAS)
def test_every_event_that_adobe_documents_is_in_the_catalogue(code: str) -> None:
    assert adobe_events.read(f"com.adobe.commerce.{code}").known
    assert adobe_events.read(f"com.adobe.commerce.{code.replace('plugin.', 'plugin.magento.')}").known


@pytest.mark.parametrize("topic", ROWS)
def test_an_event_is_what_its_row_says(topic: Topic) -> None:
    for path in topic.id.paths or ((),):
        for version in (None, *topic.version):
            body = event(topic.topic, [] if topic.id.is_event else {})
            for pointer in path:
                put(body, pointer, 41)
            if version is not None:
                put(body, version, SAVED)
            (found,) = receive(body)
            assert (found.type, found.entity_type) == (topic.type, topic.entity_type)
            assert found.entity_id == ("evt-1" if topic.id.is_event else "41")
            assert found.version is not None
            assert found.version.text == (SENT if version is None else SAVED)
            assert found.operation is topic.operation
            assert found.fact is (True if topic.fact else None)
            assert not found.notes
            assert found.reuses_ids == (path in {("/data/value/sku",), ("/data/value/code",)})


@pytest.mark.parametrize("topic", [row for row in TOPICS.values() if not row.id.is_event], ids=lambda row: row.topic)
def test_a_documented_event_without_its_id_says_where_that_was_looked_for(topic: Topic) -> None:
    with pytest.raises(FieldInvalid, match=f"^{topic.id.paths[0][0]} is missing$"):
        receive(event(topic.topic, {"name": "nothing else was chosen"}))


@pytest.mark.parametrize("topic", ROWS)
def test_is_new_makes_a_save_a_create_and_nothing_else(topic: Topic) -> None:
    saves = not topic.fact and topic.operation is Operation.UPDATE
    for told in (True, False, 1, 0, "1", "0", None, [1]):
        body = event(topic.topic, {})
        for pointer in topic.id.paths[0] if topic.id.paths else ():
            put(body, pointer, 41)
        put(body, f"{topic.data_pointer or '/data/value'}/_isNew", told)
        (found,) = receive(body)
        creates = saves and told in (True, 1, "1")
        assert found.operation is (Operation.CREATE if creates else topic.operation)
        assert found.type == topic.type


@given(code=st.sampled_from(sorted(TOPICS)), suffix=st.from_regex(r"[._][a-z_]{1,20}", fullmatch=True))
@example(code="observer.customer_save_after_data_object", suffix="_of_a_wholesaler")
def test_an_alias_means_what_the_longest_known_code_at_its_beginning_means(code: str, suffix: str) -> None:
    alias = code + suffix
    read_as = adobe_events.read(f"com.adobe.commerce.{alias}")
    assert read_as.known
    others = [one for one in TOPICS if alias == one or alias.startswith((f"{one}_", f"{one}."))]
    assert read_as.topic.topic == max(others, key=len)


@given(name=st.text(min_size=1) | st.from_regex(r"(observer|plugin)(\.[a-z_\[]{1,12}){1,4}", fullmatch=True))
@example(name="/_b")
def test_any_code_is_read_and_names_no_other_modules_entity(name: str) -> None:
    try:
        code = adobe_events.read(name)
    except FieldInvalid:
        assert any(ord(char) < 32 or 127 <= ord(char) < 160 for char in name)
        return
    assert code.topic.type
    assert code.topic.entity_type == code.topic.entity_type.lower()
    assert receive(event("", {"entity_id": 7, "rule_id": 7}, type=name))[0].type == code.topic.type


@pytest.mark.parametrize(
    ("code", "type_", "entity_type", "located"),
    [
        ("observer.catalog_product_attribute_update_before", "catalog_product_attribute.updated", None, "entity_id"),
        ("observer.catalog_product_save_before", "product.updated", "product", "sku"),
        ("observer.sales_order_place_before", "order.placed", "order", "entity_id"),
        ("observer.cms_block_prepare_save", "cms_block_prepare.updated", None, "entity_id"),
        ("plugin.cms.api.page_repository.get_by_id", "cms_page.get_by_id", "cms_page", "page_id"),
        ("plugin.customer.api.customer_repository.delete", "customer.deleted", "customer", "entity_id"),
        ("plugin.sales_rule.api.coupon_repository.save", "coupon.updated", "coupon", "code"),
        ("plugin.quote.api.coupon_management.set", "quote_coupon.set", "quote_coupon", "entity_id"),
        ("plugin.store.model.resource_model.website.save", "website.updated", "website", "entity_id"),
        ("plugin.lonely", "event.lonely", "event", None),
        ("observer.Lonely", "event.Lonely", "event", None),
    ],
)
def test_a_code_that_is_not_known_is_read_by_its_parts(
    code: str, type_: str, entity_type: str | None, located: str | None
) -> None:
    topic = adobe_events.read(f"com.adobe.commerce.{code}").topic
    assert topic.type == type_
    assert topic.entity_type == (entity_type or type_.rpartition(".")[0])
    assert (topic.id.paths[0][0] if topic.id.paths else None) == (located and f"/data/value/{located}")
    if located is not None:
        assert receive(event(code, {located: "5"}))[0].entity_id == "5"
    (alone,) = receive(event(code, {"other": 1}))
    assert (alone.entity_id, alone.fact, alone.state) == ("evt-1", True, False)


@pytest.mark.parametrize("event_type", sorted({topic.type for topic in TOPICS.values()}))
def test_a_code_is_written_for_each_type_and_means_it(event_type: str) -> None:
    written = adobe_events.read(adobe_events.write(event_type)).topic
    nested = {topic.type for topic in TOPICS.values()} - {
        topic.type for topic in TOPICS.values() if topic.data_pointer == "/data/value"
    }
    assert written.type == event_type or event_type in nested
    (found,) = receive(event(written.topic, {adobe_events.id_field(event_type): "e-1"}))
    assert found.entity_id == "e-1"


@cache
def _key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


def _digitally(raw: bytes) -> Request:
    key, path = _key(), "/prod/keys/pub-key-test.pem"
    headers = {
        "x-adobe-digital-signature-1": base64.b64encode(key.sign(raw, PKCS1v15(), SHA256())).decode(),
        "x-adobe-public-key1-path": path,
    }
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Request(headers, raw, 0.0, {path: pem})


SAVE = event("observer.catalog_product_save_commit_after", {"sku": "s"})
THEIRS = {**SAVE, "recipientclientid": "them"}
NOBODYS = {name: value for name, value in SAVE.items() if name != "recipientclientid"}


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(SAVE).encode(),
        json.dumps([SAVE] * 20).encode(),
        b"\xef\xbb\xbf" + json.dumps([SAVE]).encode(),
        json.dumps({**SAVE, "cut": "\ud83d"}).encode(),
        json.dumps([{**NOBODYS, "recipient_client_id": "us"}]).encode(),
        json.dumps([{"eventid": "e", "event": {"body": NOBODYS}, "recipientclientid": "us"}]).encode(),
    ],
)
def test_a_digitally_signed_delivery_is_taken_where_every_event_in_it_is_for_us(body: bytes) -> None:
    KIND.verify(_digitally(body), [SECRET], CONFIG)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(THEIRS).encode(),
        json.dumps([SAVE, THEIRS]).encode(),
        json.dumps([THEIRS, SAVE]).encode(),
        json.dumps([SAVE, NOBODYS]).encode(),
        json.dumps([SAVE, [SAVE]]).encode(),
        json.dumps([SAVE, 5]).encode(),
        json.dumps([{"eventid": "e", "event": {"body": SAVE}, "recipientclientid": "them"}]).encode(),
        json.dumps([{"eventid": "e", "event": {"body": SAVE}}]).encode(),
        json.dumps({**SAVE, "recipient_client_id": "them"}).encode(),
        b"[]",
        b"{",
        b"",
    ],
)
def test_one_event_for_somebody_else_refuses_the_whole_delivery(body: bytes) -> None:
    with pytest.raises(RecipientWrong):
        KIND.verify(_digitally(body), [SECRET], CONFIG)


@given(JSON)
def test_only_what_stands_at_the_top_of_an_event_names_its_recipient(event: Any) -> None:
    named = isinstance(event, dict) and event.get("recipientclientid") == "us"
    raw = json.dumps([event]).encode()
    assert is_for(raw, "us", strictly=True) == named
    assert is_for(json.dumps([SAVE, event]).encode(), "us", strictly=True) == named


def test_under_the_older_signature_an_event_may_name_nobody_but_not_somebody_else() -> None:
    assert [found.entity_id for found in receive([NOBODYS, SAVE])] == ["s", "s"]
    with pytest.raises(RecipientWrong):
        receive([NOBODYS, THEIRS])


def test_a_batch_has_no_more_events_than_any_other() -> None:
    assert len(receive([SAVE] * MOST_EVENTS)) == MOST_EVENTS
    with pytest.raises(BodyTooLarge):
        receive([SAVE] * (MOST_EVENTS + 1))


def test_the_wrapped_form_is_the_flat_one_once_it_is_taken_apart() -> None:
    inner = {name: value for name, value in SAVE.items() if name not in {"eventid", "recipientclientid"}}
    wrapped = {"eventid": "evt-1", "event": {"body": inner}, "recipientclientid": "us"}
    assert receive([wrapped]) == receive([SAVE]) == receive(wrapped) == receive(SAVE)
    (part,) = KIND.split(Request({}, json.dumps([wrapped]).encode(), 5.0), CONFIG) or []
    assert json.loads(part.body) == SAVE
    told = {**SAVE, "event": {"body": {"type": "com.adobe.commerce.observer.rma_save_after"}}}
    assert receive(told)[0].payload == told


def test_a_stored_event_of_a_batch_reads_as_it_did_in_the_batch() -> None:
    raw = json.dumps([SAVE, {**SAVE, "eventid": "evt-2"}]).encode()
    parts = KIND.split(Request({}, raw, 5.0), CONFIG)
    assert parts is not None
    assert [json.loads(part.body)["eventid"] for part in parts] == ["evt-1", "evt-2"]
    assert KIND.split(parts[0], CONFIG) is None
    assert read(KIND, parts[1], [SECRET], CONFIG, "shop").events[0].external_id == "evt-2"


def test_a_store_views_own_price_is_marked_so_that_it_fills_no_row() -> None:
    code = "observer.catalog_product_save_commit_after"
    told = {store: receive(event(code, {"sku": "s", "price": "1", "store_id": store}))[0] for store in (0, "0", "", 2)}
    assert [found.completeness.name for found in told.values()] == ["COMPLETE", "COMPLETE", "COMPLETE", "DIFFERENCE"]
    assert [len(found.notes) for found in told.values()] == [0, 0, 0, 1]
    deleted = receive(event("observer.catalog_product_delete_commit_after", {"sku": "s", "store_id": "2"}))[0]
    assert (deleted.completeness.name, deleted.notes) == ("COMPLETE", ())


def test_what_an_operator_needs_to_know_about_refusals_is_told() -> None:
    assert "429" in KIND.refusals
    assert "disabled" in KIND.refusals
