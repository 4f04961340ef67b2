"""What other headers can change of an event while its signature still holds; docs/adding-a-source.md has the table."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.errors import BodyMalformed, FieldInvalid, SignatureInvalid
from app.events.incoming import Incoming, Operation
from app.sources.kinds import KINDS, Request
from app.sources.kinds.kind import Outgoing
from app.sources.kinds.read import read
from tests.support.source_secrets import SECRETS

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-source.md"
AT = 1_794_000_000.0
TIME = "2026-11-06T21:20:00Z"
FIELDS = {"external_id", "type", "entity_type", "entity_id", "operation", "version", "sequence", "payload"}
ADOBE = {"type": "com.adobe.commerce.observer.catalog_product_save_commit_after", "id": "e", "time": TIME}
CE = {"id": "1", "at": TIME}
HEADERS = [
    *("x-shopify-topic", "shopify-topic", "x-shopify-webhook-id", "x-shopify-event-id", "x-shopify-triggered-at"),
    *("webhook-id", "webhook-timestamp", "x-adobe-event-id", "x-adobe-event-code", "x-key", "x-type", "content-type"),
    *("x-github-event", "x-github-delivery", "x-wc-webhook-topic", "x-wc-webhook-delivery-id"),
    *("ce-id", "ce-source", "ce-type", "ce-subject", "ce-time", "ce-sequence", "ce-specversion"),
]
VALUES = [
    "other",
    "orders/update",
    "products/create",
    "products/delete",
    "2026-11-06T21:00:00Z",
    "7",
    "1794000001",
    "a.b",
]
VALUES += ["issue_comment", "repository", "repository.deleted", "order.deleted", "order.updated"]
VALUES += ["price.created", "price.deleted", "application/json", "application/cloudevents+json", "1.0"]


@dataclass(frozen=True)
class Case:
    """A signed request, and what of its normal form other headers may change."""

    kind: str
    body: dict[str, Any]
    unsigned: set[str] = field(default_factory=set)
    config: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    recurs: bool = False
    """Whether the sender rightly sends this body again: the headers that tell two deliveries apart are believed."""


ISSUE = {"action": "opened", "issue": {"id": 5, "updated_at": TIME}, "repository": {"id": 1}}
CASES = [
    Case("adobe-io", {**ADOBE, "data": {"value": {"sku": "s"}}}),
    Case(
        "shopify",
        {"id": 1, "title": "T", "updated_at": TIME},
        {"external_id", "type", "entity_type", "operation", "sequence"},
    ),
    Case("shopify", {"id": 1, "title": "T"}, {"external_id", "type", "entity_type", "operation", "version"}),
    Case("squarespace", {"id": "n", "topic": "order.update", "data": {"orderId": "o"}}),
    Case("bigcommerce", {"scope": "store/product/updated", "data": {"id": 1}, "created_at": 5}),
    Case("standard", {"type": "price.updated", "timestamp": TIME, "data": {"id": "1"}}),
    Case(
        "cloudevents",
        {"specversion": "1.0", "id": "1", "source": "/s", "type": "a.b", "data": {}},
        config={"auth": "hmac"},
    ),
    Case(
        "cloudevents",
        CE,
        {"external_id", "type", "entity_type", "operation", "sequence", "payload"},
        {"auth": "hmac", "id_pointer": "/data/id", "version_pointer": "/data/at"},
        {
            "content-type": "application/json",
            "ce-specversion": "1.0",
            "ce-id": "1",
            "ce-source": "/s",
            "ce-type": "a.b",
        },
    ),
    Case("hmac", {"type": "price.updated", "data": {"id": "1", "updated_at": TIME}}),
    Case("hmac", {"data": {"id": "1"}}, {"external_id"}, {"key_header": "x-key"}),
    Case("hmac", {"data": {"id": "1"}}, {"type", "entity_type", "operation"}, {"type_header": "x-type"}),
    Case(
        "hmac",
        ISSUE,
        {"external_id", "type", "entity_type", "entity_id", "operation", "version"},
        {"vendor": "github"},
        {"x-github-event": "issues"},
    ),
    Case(
        "hmac", {"id": 3, "date_modified_gmt": TIME}, {"type", "entity_type", "operation"}, {"vendor": "woocommerce"}
    ),
    Case(
        "hmac",
        {"id": 3},
        {"external_id", "type", "entity_type"},
        {"vendor": "woocommerce"},
        {"x-wc-webhook-topic": "product.deleted"},
        recurs=True,
    ),
    Case(
        "hmac", {"id": "e", "type": "a.b", "created": 5, "data": {"object": {"id": "o"}}}, config={"vendor": "stripe"}
    ),
]


def normal(request: Request, case: Case) -> Incoming | None:
    """Return the normal form of what is accepted, None of what is refused."""
    kind = KINDS[case.kind]
    config = kind.config.model_validate(case.config)
    try:
        kind.verify(request, [SECRETS[case.kind]], config)
        return read(kind, request, [SECRETS[case.kind]], config, "shop").events[0]
    except (SignatureInvalid, BodyMalformed, FieldInvalid):
        return None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind} {sorted(case.unsigned)}")
def test_other_headers_change_what_the_table_says_and_nothing_else(case: Case) -> None:
    kind, body = KINDS[case.kind], json.dumps(case.body).encode()
    config = kind.config.model_validate(case.config)
    headers = kind.sign(Outgoing("key-1", "product.updated", body, AT), SECRETS[case.kind], config) | case.headers
    told = normal(Request(headers, body, AT), case)
    assert told is not None
    changed: set[str] = set()
    deletes = False
    for name in HEADERS:
        for value in VALUES:
            other = normal(Request({**headers, name: value}, body, AT), case)
            if other is None:
                continue
            changed |= {one for one in FIELDS if getattr(other, one) != getattr(told, one)}
            deletes |= other.operation is Operation.DELETE
            # What is known again needs its key, or its content's.
            assert case.recurs or other.external_id == told.external_id or other.content_key is not None
    assert changed == case.unsigned
    # A body that carries a save's time, and one that has no say in it, are never turned into a delete.
    assert not deletes or case.body.keys().isdisjoint({"updated_at", "date_modified_gmt", "action"})


def test_the_table_says_the_same() -> None:
    section = PAGE.read_text().partition("## What is authenticated")[2].partition("## `standard`")[0]
    told = {
        kind: set(re.findall(r"`(\w+)`", said)) & FIELDS
        for kind, said in re.findall(r"^\| `([\w-]+)` \| (.*) \|$", section, re.MULTILINE)
    }
    assert set(told) == set(KINDS)
    tried: dict[str, set[str]] = {name: set() for name in KINDS}
    for case in CASES:
        tried[case.kind] |= case.unsigned - {"payload"}
    assert told == tried
