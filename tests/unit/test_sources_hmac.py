import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest

from app.errors import ConfigInvalid, FieldInvalid, SignatureInvalid, TimestampOutsideTolerance
from app.events.incoming import Incoming
from app.sources.kinds.hmac import KIND
from app.sources.kinds.hmac_config import HmacConfig
from app.sources.kinds.kind import Outgoing, Request
from app.sources.kinds.read import read

# "Validating webhook deliveries", docs.github.com.
GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_BODY = b"Hello, World!"
GITHUB_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
AT = 1794000000.0
NO_HEADERS: dict[str, str] = {}
STRIPE = HmacConfig(header="Stripe-Signature", signed_timestamp=True, tolerance_s=300)


def _normalise(body: dict[str, Any], headers: Mapping[str, str] = NO_HEADERS, **options: Any) -> Incoming:
    request = Request(headers, json.dumps(body).encode(), AT)
    return read(KIND, request, [], HmacConfig(**options), "shop").events[0]


def _stripe(header: str, body: bytes = b"{}") -> None:
    KIND.verify(Request({"stripe-signature": header}, body, AT), [GITHUB_SECRET], STRIPE)


def _v1(stamp: str, body: bytes = b"{}") -> str:
    return hmac.new(GITHUB_SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def test_githubs_published_vector_is_accepted_and_made_with_defaults() -> None:
    headers = {"x-hub-signature-256": GITHUB_SIGNATURE}
    KIND.verify(Request(headers, GITHUB_BODY, AT), [GITHUB_SECRET], HmacConfig())
    assert KIND.sign(Outgoing("e", "t", GITHUB_BODY, AT), GITHUB_SECRET, HmacConfig()) == headers


@pytest.mark.parametrize(
    "value",
    [
        GITHUB_SIGNATURE.removeprefix("sha256="),
        "SHA256=" + GITHUB_SIGNATURE.removeprefix("sha256="),
        GITHUB_SIGNATURE + "0",
        GITHUB_SIGNATURE[:-1],
        GITHUB_SIGNATURE + " ",
        "sha256=",
        "sha256=é",
        "sha256=\ud800",
        "sha256=dXEH6g6yUJ/CESIczpmEuKN1cLbXWG4ixG9Dec+LBD4=",
    ],
)
def test_any_other_signature_is_refused(value: str) -> None:
    with pytest.raises(SignatureInvalid):
        KIND.verify(Request({"x-hub-signature-256": value}, GITHUB_BODY, AT), [GITHUB_SECRET], HmacConfig())


def test_every_v1_of_a_stamped_header_is_tried() -> None:
    stamp = str(int(AT))
    _stripe(f"t={stamp},v1={_v1(stamp)}")
    _stripe(f"v0=old, v1=00, v1={_v1(stamp)} ,t={stamp}")


@pytest.mark.parametrize("off", [-300, 300])
def test_a_stamp_five_minutes_off_is_accepted_both_ways(off: int) -> None:
    stamp = str(int(AT) + off)
    _stripe(f"t={stamp},v1={_v1(stamp)}")


@pytest.mark.parametrize("off", [-301, 301, 86_400])
def test_a_stamp_further_off_is_refused_both_ways(off: int) -> None:
    stamp = str(int(AT) + off)
    with pytest.raises(TimestampOutsideTolerance):
        _stripe(f"t={stamp},v1={_v1(stamp)}")


@pytest.mark.parametrize("stamp", ["", "1794000000.9", "1_794000000", "+1794000000"])
def test_a_stamp_that_is_no_integer_is_refused_even_when_signed(stamp: str) -> None:
    with pytest.raises(SignatureInvalid, match="integer"):
        _stripe(f"t={stamp},v1={_v1(stamp)}")


@pytest.mark.parametrize(
    "header", ["v1={v1}", "t=1794000000,t=1794000000,v1={v1}", "t=1794000000", "t=1794000000,v1", ","]
)
def test_a_stamped_header_needs_one_stamp_and_a_signature(header: str) -> None:
    with pytest.raises(SignatureInvalid):
        _stripe(header.format(v1=_v1("1794000000")))


def test_the_key_is_the_body_where_the_sender_names_none() -> None:
    body = {"type": "price.updated", "data": {"id": 1}}
    assert _normalise(body).external_id == hashlib.sha256(json.dumps(body).encode()).hexdigest()
    assert _normalise(body).content_key is None


def test_a_replay_under_another_unsigned_key_has_the_same_content_key() -> None:
    body = {"type": "price.updated", "data": {"id": 1}}
    first, replay = (_normalise(body, {"x-key": key}, key_header="X-Key") for key in ("k-1", "k-2"))
    assert (first.external_id, replay.external_id) == ("k-1", "k-2")
    assert first.content_key == replay.content_key == _normalise(body).external_id


def test_a_key_in_the_signed_body_is_trusted_over_a_header() -> None:
    body = {"id": 7, "type": "price.updated", "data": {"id": 1}}
    incoming = _normalise(body, {"x-key": "k"}, key_header="X-Key", key_pointer="/id")
    assert (incoming.external_id, incoming.content_key) == ("7", None)


def test_a_body_that_names_nothing_is_an_entity_of_its_own() -> None:
    incoming = _normalise({"zen": "Keep it logically awesome."})
    assert (incoming.type, incoming.entity_type, incoming.version) == ("event.received", "event", None)
    assert incoming.entity_id == incoming.external_id


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"type_pointer": "/kind"}, "/kind .option type_pointer."),
        ({"entity_pointer": "/kind"}, "/kind .option entity_pointer."),
        ({"id_pointer": "/sku"}, "/sku .option id_pointer."),
        ({"key_pointer": "/uuid"}, "/uuid .option key_pointer."),
        ({"operation_pointer": "/verb"}, "/verb .option operation_pointer."),
        ({"data_pointer": "/object"}, "/object .option data_pointer."),
        ({"key_header": "X-Key"}, "the header x-key"),
    ],
)
def test_what_an_option_names_must_be_there(options: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldInvalid, match=field):
        _normalise({"type": "price.updated", "data": {"id": 1}}, **options)


def test_a_delete_may_come_without_its_object() -> None:
    body = {"type": "price.deleted", "data": {"id": 1}}
    assert _normalise(body, data_pointer="/object").data_pointer == "/object"


@pytest.mark.parametrize("where", ["version_pointer", "sequence_pointer"])
@pytest.mark.parametrize("absent", [None, ""])
def test_a_version_and_a_sequence_may_be_absent_but_not_malformed(where: str, absent: Any) -> None:
    body = {"type": "price.updated", "data": {"id": 1}, "n": absent}
    incoming = _normalise(body, NO_HEADERS, **{where: "/n"})
    assert (incoming.version, incoming.sequence) == (None, None)
    with pytest.raises(FieldInvalid, match=f"/n .option {where}."):
        _normalise(body | {"n": "x"}, NO_HEADERS, **{where: "/n"})


@pytest.mark.parametrize("clock", ["time", "counter"])
def test_a_version_is_on_the_clock_that_the_options_name(clock: str) -> None:
    version = _normalise({"data": {"id": 1}, "v": 7}, version_pointer="/v", version_clock=clock).version
    assert version is not None
    assert (version.text, version.clock.value) == ("7", clock)


@pytest.mark.parametrize("type_", ["order/updated", "order:updated", "order: updated", "order.updated"])
def test_a_type_is_brought_to_dots(type_: str) -> None:
    incoming = _normalise({"type": type_, "data": {"id": 1}})
    assert (incoming.type, incoming.entity_type) == ("order.updated", "order")


@pytest.mark.parametrize(
    ("type_", "label"),
    [("/x", "x"), ("é", "x-x00-xC3-xA9"), ("a[b].updated", "a-x5Bb-x5D.updated"), ("x" * 100, "x" * 100)],
)
def test_any_printable_type_has_a_label(type_: str, label: str) -> None:
    assert _normalise({"type": type_, "data": {"id": 1}}).type == label


@pytest.mark.parametrize("type_", ["", 5, [], "/", ": ", "a\nb", "\x85"])
def test_a_type_that_names_nothing_is_refused(type_: Any) -> None:
    with pytest.raises(FieldInvalid, match=r"/type \(option type_pointer\)"):
        _normalise({"type": type_, "data": {"id": 1}})


@pytest.mark.parametrize(
    "options",
    [
        {"auth": "none"},
        {"algorithm": "md5"},
        {"encoding": "none"},
        {"header": ""},
        {"header": "a b"},
        {"tolerance_s": 0},
        {"tolerance_s": 86_400},
        {"id_pointer": "id"},
        {"data_pointer": "data"},
        {"type": "not a label"},
        {"version_clock": "sundial"},
        {"vendor": "shopkeeper"},
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        HmacConfig(**options)


@pytest.mark.parametrize("secret", ["", "seven77", "       x       "])
def test_a_short_secret_is_refused(secret: str) -> None:
    with pytest.raises(ConfigInvalid, match="8 characters"):
        KIND.check_secret(secret)
