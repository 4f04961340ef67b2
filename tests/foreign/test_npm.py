"""npm's @shopify/shopify-api, @octokit/webhooks-methods, standardwebhooks, cloudevents sign for us, and check us."""

import json
import time
from functools import cache
from typing import Any

import pytest

from app.cli import bodies
from app.cli.bodies import Example
from app.errors import BodyMalformed, SignatureInvalid
from app.sources.kinds import KINDS, Request
from app.sources.kinds.kind import Outgoing
from app.sources.kinds.read import read
from tests.foreign.node import ask
from tests.support.source_secrets import SECRETS


@cache
def now() -> float:
    """Return when this module's first test ran: other people's verifiers look at the clock."""
    return float(int(time.time()))


BODY = json.dumps({"type": "price.updated", "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "sku é"}})
OURS = {"standard": "standard", "github": "hmac", "shopify": "shopify"}
"""What the packages call it, and our kind."""


def secret(foreign: str) -> str:
    return SECRETS[OURS.get(foreign, "cloudevents")]


def sent(foreign: str) -> dict[str, Any]:
    """Return what ``tiercel send`` would send."""
    kind = KINDS[OURS.get(foreign, "cloudevents")]
    config = kind.config()
    type_ = bodies.MAKERS[kind.name].default_type
    body = bodies.body(kind.name, Example("msg_1", type_, None, 1, now(), secret(foreign), config))
    headers = {
        "content-type": "application/json",
        **kind.sign(Outgoing("msg_1", type_, body, now()), secret(foreign), config),
    }
    return {
        "kind": foreign,
        "secret": secret(foreign),
        "headers": headers,
        "body": body.decode(),
        "subject": "example-1",
    }


@pytest.fixture(scope="module")
def answer() -> dict[str, Any]:
    """Everything in one question: node starts but once."""
    good = [sent(foreign) for foreign in (*OURS, "cloudevents-structured")]
    flipped = [{**one, "body": one["body"].replace("1", "3", 1)} for one in good[: len(OURS)]]
    to_sign = [*OURS, "cloudevents-structured", "cloudevents-binary"]
    told = ask(
        {
            "sign": [
                {"kind": one, "secret": secret(one), "id": "msg_1", "at": int(now()), "body": BODY} for one in to_sign
            ],
            "verify": [*good, *flipped],
        }
    )
    return {"signed": dict(zip(to_sign, told["signed"], strict=True)), "verified": told["verified"]}


def request(signed: dict[str, Any], flip: int | None = None) -> Request:
    body = bytearray(signed["body"].encode())
    if flip is not None:
        body[flip // 8] ^= 1 << flip % 8
    return Request({"content-type": "application/json", **signed["headers"]}, bytes(body), now())


@pytest.mark.parametrize("foreign", OURS)
def test_what_the_packages_sign_is_accepted_and_refused_with_one_bit_changed(
    answer: dict[str, Any], foreign: str
) -> None:
    kind, signed = KINDS[OURS[foreign]], answer["signed"][foreign]
    kind.verify(request(signed), [secret(foreign)], kind.config())
    for flip in range(0, 8 * len(BODY.encode()), 7):
        with pytest.raises(SignatureInvalid):
            kind.verify(request(signed, flip), [secret(foreign)], kind.config())


@pytest.mark.parametrize("form", ["structured", "binary"])
def test_the_packages_cloudevents_are_read(answer: dict[str, Any], form: str) -> None:
    kind, made = KINDS["cloudevents"], answer["signed"][f"cloudevents-{form}"]
    incoming = read(kind, request(made), [], kind.config(), "shop").events[0]
    assert (incoming.external_id, incoming.entity_type, incoming.entity_id) == ("/foreign msg_1", "price", "sku 1")
    assert incoming.payload["data"]["data"]["id"] == "sku é"
    assert incoming.version is not None
    assert incoming.version.order == int(now())
    cut = Request(request(made).headers, made["body"].encode()[:-1], now())
    if form == "binary":
        # Its headers say what it is; what is no JSON is kept as it came.
        assert "data_base64" in read(kind, cut, [], kind.config(), "shop").events[0].payload
    else:
        with pytest.raises(BodyMalformed):
            read(kind, cut, [], kind.config(), "shop")


def test_what_tiercel_send_signs_is_accepted_by_the_packages_and_refused_when_changed(answer: dict[str, Any]) -> None:
    assert answer["verified"] == [True] * (len(OURS) + 1) + [False] * len(OURS)
