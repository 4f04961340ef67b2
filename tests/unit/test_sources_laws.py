"""What holds for every kind, whatever a request holds."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import BodyMalformed, ConfigInvalid, FieldInvalid, SecretMissing, SignatureInvalid, SignatureMissing
from app.events.canonical_json import resolve
from app.events.incoming import Incoming
from app.sources.kinds import KINDS, Kind, Request
from app.sources.kinds.kind import Outgoing
from app.sources.kinds.read import read
from tests.support.source_secrets import CONFIGS, JSON, NAMES, OTHERS, SECRETS, WHSEC

NOT_SIGNED = {
    "shopify": {
        f"x-shopify-{name}"
        for name in ("topic", "webhook-id", "event-id", "shop-domain", "triggered-at", "api-version")
    },
    "cloudevents": {"content-type"},
    "hmac": {"x-github-event", "x-github-delivery"}
    | {f"x-wc-webhook-{name}" for name in ("topic", "resource", "event", "delivery-id")},
}
"""Headers of a kind that its verification can do without."""
HEADERS = [
    "x-moltin-secret-key", "webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256",
    "x-shopify-hmac-sha256", "x-shopify-topic", "x-shopify-webhook-id", "x-shopify-triggered-at", "shopify-topic",
    "squarespace-signature", "x-adobe-signature", "x-adobe-digital-signature-1", "x-adobe-public-key1-path",
    "x-github-event", "x-wc-webhook-topic", "x-type", "svix-id", "svix-timestamp", "svix-signature",
    "authorization", "x-signature", "content-type", "ce-specversion", "ce-id", "ce-type", "ce-source", "ce-data",
]  # fmt: skip
BODIES = st.binary() | st.dictionaries(st.sampled_from(NAMES), JSON).map(json.dumps).map(str.encode)
HEADER_VALUES = (
    st.text()
    | st.text(alphabet="v1,=t 0aA_+-.\xff\ud800٣")
    | st.sampled_from(["v1,", "v1,====", "t=1,t=2,v1=a", "t=1_0,v1=", "1" * 5000, " 1 ", "1794000000"])
    | st.sampled_from(
        ["products/update", "products/delete", "customers/redact", "app/uninstalled", "customer.left_segment"]
    )
    | st.sampled_from(
        [
            "issues",
            "label.deleted",
            "ping",
            "star",
            "product.deleted",
            "order.updated",
            "action.x",
            "balance.available",
        ]
    )
    | st.sampled_from(
        ["Bearer ", "Bearer", "application/cloudevents+json", "application/json", "1.0", "%ff", "%00", "a.b"]
    )
)
REQUESTS = st.builds(
    Request, st.dictionaries(st.sampled_from(HEADERS), HEADER_VALUES), BODIES, st.floats(-1e12, 1e12, width=64)
)
every_kind = pytest.mark.parametrize(("name", "options"), CONFIGS)


def _kind(name: str, options: dict[str, Any]) -> tuple[Kind, Any]:
    return KINDS[name], KINDS[name].config.model_validate(options)


@every_kind
@given(request=REQUESTS, secrets=st.lists(st.text() | st.just(WHSEC), max_size=3))
@example(request=Request({}, b"", 0.0), secrets=[])
def test_an_unsigned_request_is_refused_as_unsigned(
    name: str, options: dict[str, Any], request: Request, secrets: list[str]
) -> None:
    kind, config = _kind(name, options)
    try:
        kind.verify(request, secrets, config)
    except SignatureInvalid:
        return
    assert name == "elasticpath"
    assert request.headers["x-moltin-secret-key"]


@every_kind
@given(request=REQUESTS)
def test_a_body_is_normalised_or_refused_by_name(name: str, options: dict[str, Any], request: Request) -> None:
    kind, config = _kind(name, options)
    try:
        parts = kind.split(request, config)
        for part in [request] if parts is None else parts:
            for incoming in read(kind, part, [SECRETS[name]], config, "shop").events:
                _assert_normal(incoming)
    except (BodyMalformed, FieldInvalid) as error:
        assert str(error)  # noqa: PT017  # either may happen


def _assert_normal(incoming: Incoming) -> None:
    for value in (incoming.external_id, incoming.type, incoming.entity_type, incoming.entity_id):
        assert 1 <= len(value) <= 512
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in value)
        value.encode()
    assert incoming.entity_type == incoming.entity_type.lower()
    assert max(len(incoming.type), len(incoming.entity_type)) <= 100
    if incoming.data_pointer:
        assert incoming.operation.name == "DELETE" or isinstance(
            resolve(incoming.payload, incoming.data_pointer), dict
        )


def _signed(kind: Kind, config: Any, secret: str, body: bytes) -> Request:
    headers = kind.sign(Outgoing("msg-é-1", "price.updated", body, 1794000000.9), secret, config)
    return Request(headers, body, 1794000000.9)


@every_kind
@given(body=st.binary())
def test_what_a_sender_signs_is_accepted(name: str, options: dict[str, Any], body: bytes) -> None:
    kind, config = _kind(name, options)
    request = _signed(kind, config, SECRETS[name], body)
    kind.verify(request, [SECRETS[name]], config)
    kind.verify(request, [OTHERS[name], "", SECRETS[name]], config)
    assert all(key == key.lower() for key in request.headers)


@every_kind
def test_another_secret_is_refused(name: str, options: dict[str, Any]) -> None:
    kind, config = _kind(name, options)
    with pytest.raises(SignatureInvalid):
        kind.verify(_signed(kind, config, OTHERS[name], b"{}"), [SECRETS[name]], config)


@every_kind
@given(body=st.binary(min_size=1), data=st.data())
def test_one_changed_bit_of_the_body_is_refused(
    name: str, options: dict[str, Any], body: bytes, data: st.DataObject
) -> None:
    kind, config = _kind(name, options)
    if name == "elasticpath" or (name == "cloudevents" and config.auth == "bearer"):
        return  # they don't sign their bodies
    request = _signed(kind, config, SECRETS[name], body)
    at, bit = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 7))
    changed = body[:at] + bytes([body[at] ^ 1 << bit]) + body[at + 1 :]
    with pytest.raises(SignatureInvalid):
        kind.verify(Request(request.headers, changed, request.received_at), [SECRETS[name]], config)


@every_kind
def test_every_header_of_the_signature_is_needed(name: str, options: dict[str, Any]) -> None:
    kind, config = _kind(name, options)
    request = _signed(kind, config, SECRETS[name], b"{}")
    unsigned = {options.get(name, "").lower() for name in ("key_header", "type_header")}
    for missing in set(request.headers) - unsigned - NOT_SIGNED.get(name, set()):
        headers = {key: value for key, value in request.headers.items() if key != missing}
        with pytest.raises(SignatureMissing, match=missing):
            kind.verify(Request(headers, b"{}", request.received_at), [SECRETS[name]], config)


@every_kind
@pytest.mark.parametrize("secrets", [[], [""], ["  "]])
def test_without_a_secret_nothing_is_accepted(name: str, options: dict[str, Any], secrets: list[str]) -> None:
    kind, config = _kind(name, options)
    for request in (_signed(kind, config, SECRETS[name], b"{}"), Request({"x-moltin-secret-key": ""}, b"{}", 0.0)):
        with pytest.raises(SecretMissing):
            kind.verify(request, secrets, config)


@pytest.mark.parametrize("name", KINDS)
@given(secret=st.text())
@example(secret="")
@example(secret="short")
@example(secret="whsec_dG9vIHNob3J0")
@example(secret="whsec_not base64 at all, é")
def test_a_refused_secret_is_never_shown(name: str, secret: str) -> None:
    try:
        KINDS[name].check_secret(secret)
    except ConfigInvalid as error:
        assert len(secret) < 5 or secret not in str(error)  # noqa: PT017  # either may happen


@pytest.mark.parametrize("name", KINDS)
def test_a_good_secret_passes_and_an_empty_one_does_not(name: str) -> None:
    KINDS[name].check_secret(SECRETS[name])
    for empty in ("", " ", " " * 40):
        with pytest.raises(ConfigInvalid):
            KINDS[name].check_secret(empty)


@pytest.mark.parametrize("name", KINDS)
def test_an_unknown_option_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="extra"):
        KINDS[name].config.model_validate({"verify_signature": False})


@every_kind
def test_options_survive_being_stored(name: str, options: dict[str, Any]) -> None:
    _, config = _kind(name, options)
    assert type(config).model_validate(json.loads(config.model_dump_json())) == config
