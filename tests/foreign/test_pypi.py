"""PyPI's standardwebhooks, svix, stripe and cloudevents sign for us, and check us."""

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
import standardwebhooks
import stripe
import svix.webhooks
from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from app.errors import SignatureInvalid
from app.sources.kinds import KINDS, Request
from app.sources.kinds.hmac_config import HmacConfig
from app.sources.kinds.kind import Outgoing
from app.sources.kinds.read import read
from tests.support.source_secrets import SECRETS, WHSEC, WHSEC_2


@cache
def now() -> datetime:
    """Return when this module's first test ran: other people's verifiers look at the clock."""
    return datetime.now(UTC).replace(microsecond=0)


def at() -> float:
    """Return the same in Unix seconds."""
    return now().timestamp()


BODY = json.dumps({"type": "price.updated", "data": {"id": "sku é", "updated_at": 5}})
STRIPE = HmacConfig(header="Stripe-Signature", signed_timestamp=True, key_pointer="/id")
TOKEN = "a bearer token"


def standard(headers: dict[str, str], body: bytes) -> None:
    KINDS["standard"].verify(Request(headers, body, at()), [WHSEC], KINDS["standard"].config())


def by_stripe(headers: dict[str, str], body: bytes) -> None:
    KINDS["hmac"].verify(Request(headers, body, at()), [SECRETS["hmac"]], STRIPE)


def signed_by_standardwebhooks() -> dict[str, str]:
    signature = standardwebhooks.Webhook(WHSEC).sign("msg_1", now(), BODY)
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at())), "webhook-signature": signature}


def signed_by_svix() -> dict[str, str]:
    two = [svix.webhooks.Webhook(secret).sign("msg_1", now(), BODY) for secret in (WHSEC_2, WHSEC)]
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at())), "webhook-signature": " ".join(two)}


def signed_by_stripe() -> dict[str, str]:
    header = stripe.WebhookSignature.generate_signature_header(BODY, SECRETS["hmac"], int(at()))
    other = stripe.WebhookSignature.generate_signature_header(BODY, "the secret before", int(at())).partition(",")[2]
    stamp, _, signature = header.partition(",")
    return {"stripe-signature": f"{stamp},{other},{signature},v0=an-older-scheme"}


FOREIGN: list[tuple[Callable[[], dict[str, str]], Callable[[dict[str, str], bytes], None]]] = [
    (signed_by_standardwebhooks, standard),
    (signed_by_svix, standard),
    (signed_by_stripe, by_stripe),
]


@pytest.mark.parametrize(("sign", "verify"), FOREIGN)
def test_what_they_sign_is_accepted_and_refused_with_one_bit_changed(
    sign: Callable[[], dict[str, str]], verify: Callable[[dict[str, str], bytes], None]
) -> None:
    headers, body = sign(), BODY.encode()
    verify(headers, body)
    for flip in range(0, 8 * len(body), 5):
        changed = bytearray(body)
        changed[flip // 8] ^= 1 << flip % 8
        with pytest.raises(SignatureInvalid):
            verify(headers, bytes(changed))


def test_what_we_sign_they_accept_and_refuse_when_changed() -> None:
    headers = KINDS["standard"].sign(Outgoing("msg_1", "t", BODY.encode(), time.time()), WHSEC, None)
    for webhook in (standardwebhooks.Webhook(WHSEC), svix.webhooks.Webhook(WHSEC)):
        webhook.verify(BODY, headers)
        with pytest.raises((standardwebhooks.WebhookVerificationError, svix.webhooks.WebhookVerificationError)):
            webhook.verify(BODY + " ", headers)
    header = KINDS["hmac"].sign(Outgoing("e", "t", BODY.encode(), time.time()), SECRETS["hmac"], STRIPE)[STRIPE.header]
    assert stripe.WebhookSignature.verify_header(BODY, header, SECRETS["hmac"], 300)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(BODY + " ", header, SECRETS["hmac"], 300)


def test_we_refuse_a_future_that_stripes_own_check_accepts() -> None:
    ahead = int(at()) + 86_400
    header = stripe.WebhookSignature.generate_signature_header(BODY, SECRETS["hmac"], ahead)
    assert stripe.WebhookSignature.verify_header(BODY, header, SECRETS["hmac"], 300)
    with pytest.raises(SignatureInvalid):
        by_stripe({"stripe-signature": header}, BODY.encode())


def cloudevent(**data: Any) -> CloudEvent:
    attributes = {"id": "e-1", "source": "/foreign", "type": "price.updated", "subject": "sku 1 é", "time": now()}
    return CloudEvent({**attributes, "specversion": "1.0", "datacontenttype": "application/json"}, data)


@pytest.mark.parametrize("write", [http.to_structured, http.to_binary])
def test_their_cloudevents_are_read(write: Callable[..., http.HTTPMessage]) -> None:
    kind = KINDS["cloudevents"]
    message = write(cloudevent(amount="19.90"), JSONFormat())
    headers = {"authorization": f"Bearer {TOKEN}", **{name.lower(): value for name, value in message.headers.items()}}
    request = Request(headers, bytes(message.body), at())
    kind.verify(request, [TOKEN], kind.config())
    incoming = read(kind, request, [TOKEN], kind.config(), "shop").events[0]
    assert (incoming.external_id, incoming.entity_id) == ("/foreign e-1", "sku 1 é")
    assert incoming.version is not None
    assert incoming.version.order == int(at())
    assert incoming.payload["data"] == {"amount": "19.90"}


def test_they_read_the_cloudevents_that_we_send() -> None:
    from app.cli import bodies  # noqa: PLC0415  # only here

    wanted = bodies.Example("key-1", "price.updated", None, 1, at(), TOKEN, KINDS["cloudevents"].config())
    body = bodies.body("cloudevents", wanted)
    headers = KINDS["cloudevents"].sign(Outgoing("key-1", "price.updated", body, at()), TOKEN, wanted.config)
    event = http.from_structured(http.HTTPMessage(headers, body), JSONFormat())
    assert (event.get_id(), event.get_subject(), event.get_type()) == ("key-1", "example-1", "price.updated")


def test_a_v1a_signature_of_the_specifications_form_is_accepted() -> None:
    """No package of today makes one: the primitive is cryptography's, the form the specification's."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  # only here

    key = Ed25519PrivateKey.generate()
    signature = base64.b64encode(key.sign(f"msg_1.{int(at())}.{BODY}".encode())).decode()
    public = "whpk_" + base64.b64encode(key.public_key().public_bytes_raw()).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(at())), "webhook-signature": f"v1a,{signature}"}
    KINDS["standard"].verify(Request(headers, BODY.encode(), at()), [public], KINDS["standard"].config())
    with pytest.raises(SignatureInvalid):
        KINDS["standard"].verify(Request(headers, BODY.encode() + b" ", at()), [public], KINDS["standard"].config())
