import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from app.errors import (
    ConfigInvalid,
    FieldInvalid,
    SecretMissing,
    SignatureInvalid,
    SignatureMissing,
    TimestampOutsideTolerance,
)
from app.events.incoming import Incoming
from app.sources.kinds.kind import Outgoing, Request
from app.sources.kinds.read import read
from app.sources.kinds.standard import KIND, StandardConfig
from app.sources.kinds.standard_signature import _mac

# The specification's own vector, the same in all of its libraries.
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
AT = 1614265330.0
CONFIG = StandardConfig()


def _verify(secrets: list[str], body: bytes = VECTOR_BODY, received_at: float = AT, **over: str) -> None:
    headers = VECTOR | {name.replace("_", "-"): value for name, value in over.items()}
    KIND.verify(Request(headers, body, received_at), secrets, CONFIG)


def _normalise(body: dict[str, Any], config: StandardConfig = CONFIG, event_id: str = "msg_1") -> Incoming:
    return read(KIND, Request({"webhook-id": event_id}, json.dumps(body).encode(), AT), [], config, "shop").events[0]


def test_the_published_vector_is_accepted_and_made() -> None:
    _verify([VECTOR_SECRET])
    sent = Outgoing("msg_p5jXN8AQM9LWM0D4loKWxJek", "test", VECTOR_BODY, AT + 0.9)
    assert KIND.sign(sent, VECTOR_SECRET, CONFIG) == VECTOR


@pytest.mark.parametrize("secret", [VECTOR_SECRET.removeprefix("whsec_"), f" {VECTOR_SECRET}\n"])
def test_the_secrets_prefix_and_the_space_around_it_do_not_matter(secret: str) -> None:
    _verify([secret])


@given(
    key=st.binary(min_size=16, max_size=64),
    event_id=st.text(st.characters(codec="utf-8"), min_size=1),
    body=st.text(st.characters(codec="utf-8")),
)
def test_we_sign_and_verify_as_the_reference_library_does(key: bytes, event_id: str, body: str) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    reference = Webhook(secret).sign(event_id, datetime.fromtimestamp(AT, UTC), body)
    headers = KIND.sign(Outgoing(event_id, "t", body.encode(), AT), secret, CONFIG)
    assert headers["webhook-signature"] == reference
    KIND.verify(Request(headers, body.encode(), AT), [secret.rstrip("=")], CONFIG)


@pytest.mark.parametrize("off", [-300, 300])
def test_five_minutes_are_tolerated_both_ways(off: int) -> None:
    _verify([VECTOR_SECRET], received_at=AT + off)


@pytest.mark.parametrize("off", [-300.5, 300.5, -86_400, 86_400, 1e11])
def test_more_than_five_minutes_are_not(off: float) -> None:
    with pytest.raises(TimestampOutsideTolerance):
        _verify([VECTOR_SECRET], received_at=AT + off)


@pytest.mark.parametrize(
    "timestamp", ["1614265330.9", " 1614265330 ", "16_14265330", "١٦١٤٢٦٥٣٣٠", "+1614265330", "-1"]
)
def test_a_signed_timestamp_that_is_no_integer_is_refused(timestamp: str) -> None:
    """Even under a good signature: the reference library takes several of these."""
    key = base64.b64decode(VECTOR_SECRET.removeprefix("whsec_"))
    signature = _mac(key, b".".join((b"msg_1", timestamp.encode(), b"{}"))).decode()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": timestamp.encode().decode("latin-1"),
        "webhook-signature": f"v1,{signature}",
    }
    with pytest.raises(SignatureInvalid, match="integer"):
        KIND.verify(Request(headers, b"{}", AT), [VECTOR_SECRET], CONFIG)


@pytest.mark.parametrize(
    "signature",
    [
        "v1",
        "v1,",
        "v1,====",
        "v1,é",
        "v1,\ud800",
        "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "V1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OF=",
        "v1,83484cf52b04f8e4cf2531adfed9882ad4b2665137b852442d594d20e2c9d4e1",
        " ",
        "v1,,v1,",
    ],
)
def test_any_other_signature_is_refused(signature: str) -> None:
    with pytest.raises(SignatureInvalid):
        _verify([VECTOR_SECRET], webhook_signature=signature)


def test_a_secret_that_is_no_base64_is_no_secret() -> None:
    with pytest.raises(SecretMissing):
        _verify(["whsec_not base64!", VECTOR_SECRET + "!", "whsec_é", "whsec_A", "whsec_"])
    _verify(["whsec_not base64!", VECTOR_SECRET])
    with pytest.raises(ConfigInvalid):
        KIND.sign(Outgoing("m", "t", b"", AT), "whsec_not base64!", CONFIG)


@given(secret=st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=16), body=st.binary())
def test_a_secret_without_a_prefix_is_its_own_text_or_base64(secret: str, body: bytes) -> None:
    """Polar signs with the text's bytes; a dashboard may hide the prefix of what is base64."""
    KIND.check_secret(secret)
    headers = KIND.sign(Outgoing("msg_1", "t", body, AT), secret, CONFIG)
    KIND.verify(Request(headers, body, AT), [secret], CONFIG)
    signed = b".".join((b"msg_1", headers["webhook-timestamp"].encode(), body))
    by_text = {**headers, "webhook-signature": "v1," + _mac(secret.encode(), signed).decode()}
    KIND.verify(Request(by_text, body, AT), [f" {secret}\n"], CONFIG)
    with pytest.raises(SignatureInvalid):
        KIND.verify(Request(by_text, body, AT), [secret + "x"], CONFIG)


def test_a_prefixed_secret_is_never_its_text() -> None:
    signed = b".".join((b"msg_1", b"1614265330", b"{}"))
    headers = VECTOR | {
        "webhook-id": "msg_1",
        "webhook-signature": "v1," + _mac(VECTOR_SECRET.encode(), signed).decode(),
    }
    with pytest.raises(SignatureInvalid):
        KIND.verify(Request(headers, b"{}", AT), [VECTOR_SECRET], CONFIG)


@pytest.mark.parametrize("secret", ["too short", "x" * 15, "é" * 7, "whsec_too short", "whpk_AAAA"])
def test_a_secret_that_is_too_short_or_no_key_is_refused(secret: str) -> None:
    with pytest.raises(ConfigInvalid):
        KIND.check_secret(secret)


SVIX = {name.replace("webhook", "svix"): value for name, value in VECTOR.items()}


def test_svixs_names_of_the_headers_are_taken_as_the_same() -> None:
    KIND.verify(Request(SVIX, VECTOR_BODY, AT), [VECTOR_SECRET], CONFIG)
    for name in SVIX:
        left = {one: value for one, value in SVIX.items() if one != name}
        with pytest.raises(SignatureMissing, match=name):
            KIND.verify(Request(left, VECTOR_BODY, AT), [VECTOR_SECRET], CONFIG)
        # One of the specification's own beside them: nothing of the two families is mixed.
        with pytest.raises(SignatureInvalid):
            KIND.verify(
                Request(SVIX | {name.replace("svix", "webhook"): "x"}, VECTOR_BODY, AT), [VECTOR_SECRET], CONFIG
            )


def test_the_key_is_of_the_headers_that_are_signed() -> None:
    body = b'{"type":"a.b","data":{"id":1}}'
    for headers in ({"svix-id": "s"}, {"webhook-id": "s", "svix-id": "other"}):
        assert read(KIND, Request(headers, body, AT), [], CONFIG, "shop").delivery.key == "s"


@pytest.mark.parametrize(("size", "good"), [(15, False), (16, True), (24, True), (64, True), (100, True)])
def test_a_key_needs_sixteen_bytes(size: int, good: bool) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * size).decode()
    if good:
        KIND.check_secret(secret)
        return
    with pytest.raises(ConfigInvalid, match="16 bytes"):
        KIND.check_secret(secret)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "^/type is missing$"),
        ({"type": 5}, "^/type must be text$"),
        ({"type": " / "}, "^/type names nothing$"),
        ({"type": "a.b"}, r"^/data/id \(option id_pointer\) is missing$"),
        ({"type": "a.b", "data": []}, r"^/data/id \(option id_pointer\) is missing$"),
        ({"type": "a.b", "data": {"id": True}}, r"^/data/id \(option id_pointer\) must be text or an integer$"),
        (
            {"type": "a.b", "data": {"id": 1, "updated_at": 1e13}},
            r"^/data/updated_at \(option version_pointer\) isn't",
        ),
        ({"type": "a.b", "data": {"id": 1}, "timestamp": "now"}, "^/timestamp isn't an RFC 3339 timestamp$"),
    ],
)
def test_a_refusal_names_the_field_and_the_option(body: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldInvalid, match=message):
        _normalise(body)


def test_an_empty_version_is_an_absent_one() -> None:
    version = _normalise(
        {"type": "a.b", "timestamp": "2026-11-06T21:20:00Z", "data": {"id": 1, "updated_at": ""}}
    ).version
    assert version is not None
    assert version.text == "2026-11-06T21:20:00Z"
    assert _normalise({"type": "a.b", "timestamp": "", "data": {"id": 1, "updated_at": None}}).version is None


def test_a_malformed_timestamp_does_not_matter_beside_a_version() -> None:
    version = _normalise({"type": "a.b", "timestamp": "now", "data": {"id": 1, "updated_at": 5}}).version
    assert version is not None
    assert version.text == "5"


@pytest.mark.parametrize("event_id", ["", "a\x00b", "a\nb", "\xff", "m" * 513])
def test_a_webhook_id_that_cannot_be_stored_is_a_field_error(event_id: str) -> None:
    with pytest.raises(FieldInvalid, match="webhook-id"):
        _normalise({"type": "a.b", "data": {"id": 1}}, event_id=event_id)


@pytest.mark.parametrize("pointer", ["data/id", "", "/a~2b", "/a~"])
def test_an_option_that_is_no_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(ValueError, match="id_pointer"):
        StandardConfig(id_pointer=pointer)
