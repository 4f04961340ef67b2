"""The three examples of docs/unmapped.md, run as they stand there, and the secrets that travel by themselves."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.errors import SecretMissing, SignatureInvalid, SignatureMissing
from app.events.incoming import Completeness, Incoming, Operation
from app.sources.kinds import KINDS, Request
from app.sources.kinds.kind import Hello, Outgoing
from app.sources.kinds.read import read

KIND = KINDS["hmac"]
SECRET = "a secret with an é and a &"
AT = 1_794_000_000.0
PAGE = (Path(__file__).parents[2] / "docs" / "unmapped.md").read_text()


def config(title: str) -> Any:
    section = PAGE.partition(f"### {title}\n")[2]
    found = re.search(r"^```json\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found
    return KIND.config.model_validate(json.loads(found[1]))


def received(title: str, body: bytes, content_type: str = "application/json", query: bytes = b"") -> list[Incoming]:
    options = config(title)
    signed = KIND.sign(Outgoing("k", "x.updated", body, AT), SECRET, options)
    request = Request({"content-type": content_type, **signed}, body, AT, query=query)
    KIND.verify(request, [SECRET], options)
    return list(read(KIND, request, [SECRET], options, "shop").events)


def test_segments_order_is_a_fact_of_the_order() -> None:
    order = {"order_id": "o-17", "total": 25.5}
    call = {"type": "track", "event": "Order Completed", "messageId": "m-1", "timestamp": "2026-11-06T21:20:00Z"}
    (event,) = received("Segment", json.dumps({**call, "properties": order}).encode())
    assert (event.type, event.entity_type, event.entity_id) == ("order.paid", "order", "o-17")
    assert (event.fact, event.state, event.data_pointer, event.external_id) == (True, False, "/properties", "m-1")
    assert event.version is not None
    assert received("Segment", json.dumps({"type": "screen", "messageId": "m-2"}).encode()) == []
    profile = {"type": "identify", "userId": "u-1", "messageId": "m-3", "traits": {"plan": "gold"}}
    (identified,) = received("Segment", json.dumps(profile).encode())
    assert (identified.entity_type, identified.completeness) == ("profile", Completeness.PARTIAL)


FORM = b"type=%s&fired_at=2026-11-06+21%%3A20%%3A00&data[id]=8a2&data[list_id]=a6b&data[email]=eva%%40example.com"
QUERY = b"secret=a+secret+with+an+%C3%A9+and+a+%26"


@pytest.mark.parametrize(
    ("topic", "operation"),
    [(b"subscribe", Operation.CREATE), (b"profile", Operation.UPDATE), (b"unsubscribe", Operation.DELETE)],
)
def test_mailchimps_form_is_a_subscriber(topic: bytes, operation: Operation) -> None:
    (event,) = received("Mailchimp's form", FORM % topic, "application/x-www-form-urlencoded", QUERY)
    assert (event.entity_type, event.entity_id, event.operation) == ("subscriber", "a6b/8a2", operation)
    assert event.version is not None
    assert event.payload["data"]["email"] == "eva@example.com"


def test_mailchimps_other_forms_are_facts_and_its_trial_is_answered() -> None:
    (event,) = received("Mailchimp's form", FORM % b"upemail", "application/x-www-form-urlencoded", QUERY)
    assert (event.type, event.fact, event.state) == ("upemail", True, False)
    options = config("Mailchimp's form")
    assert KIND.greet(Hello("GET", {}, {}), options) is not None
    assert KIND.greet(Hello("POST", {}, {}, b""), options) is not None
    assert KIND.greet(Hello("POST", {}, {}, b"type=subscribe"), options) is None


def test_a_typeform_answer_is_a_lead() -> None:
    answer = {"form_id": "f", "token": "t-9", "submitted_at": "2026-11-06T21:20:00Z", "answers": []}
    body = {"event_id": "e-1", "event_type": "form_response", "form_response": answer}
    (event,) = received("A survey tool", json.dumps(body).encode())
    assert (event.type, event.entity_id, event.external_id) == ("lead.captured", "t-9", "e-1")
    assert event.data_pointer == "/form_response"


@pytest.mark.parametrize("query", [b"", b"secret=", b"x=1", b"secret", b"\xff%ff&&=;"])
def test_a_url_without_the_secret_is_not_verified(query: bytes) -> None:
    with pytest.raises(SignatureMissing, match="parameter secret"):
        KIND.verify(Request({}, b"{}", AT, query=query), [SECRET], KIND.config.model_validate({"auth": "url"}))


def test_another_secret_in_the_url_or_the_header_is_refused_and_without_one_everything() -> None:
    told = {"header": "x-token", "prefix": "Bearer "}
    url, header = (KIND.config.model_validate({"auth": auth, **told}) for auth in ("url", "header"))
    with pytest.raises(SignatureInvalid):
        KIND.verify(Request({}, b"{}", AT, query=b"secret=other"), [SECRET], url)
    for value in ("Bearer other", "Basic x", "other"):
        with pytest.raises(SignatureInvalid):
            KIND.verify(Request({"x-token": value}, b"{}", AT), [SECRET], header)
    signed = KIND.sign(Outgoing("k", "x.updated", b"{}", AT), SECRET, header)
    KIND.verify(Request(signed, b"anything", AT), ["older secret", SECRET], header)
    with pytest.raises(SecretMissing):
        KIND.verify(Request(signed, b"{}", AT), [], header)
