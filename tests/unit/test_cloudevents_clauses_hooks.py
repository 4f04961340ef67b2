"""CloudEvents' Web Hooks 1.0.2 (``http-webhook.md``), clause by clause, and its extension ``sequence``."""

import uuid
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.exceptions import MethodNotAllowed

from app.errors import (
    ContentTypeUnsupported,
    FieldInvalid,
    SignatureInvalid,
    SignatureMissing,
    SourceDisabled,
    SourceLeft,
)
from app.inbox.store import Stored, StoreResult
from app.models import Lane, Status
from app.sources.kinds import Request
from app.sources.kinds.cloudevents import KIND
from app.sources.kinds.kind import Hello
from app.web.errors import status_of
from app.web.problem import problem
from app.web.webhooks import views
from tests.support.cloudevents import AT, BATCH, TOKEN, binary, posted, routes, structured


def test_events_are_posted_and_nothing_redirects() -> None:
    """Hooks 2.1, 2.2: the method MUST be POST; the response MUST NOT use a 3xx."""
    adapter = routes().url_map.bind("shop.example")
    for path in ("/webhooks/lamps", "/webhooks/lamps/"):
        assert adapter.match(path, method="POST") == ("receive.receive", {"name": "lamps"})
        for method in ("PUT", "PATCH", "DELETE"):
            with pytest.raises(MethodNotAllowed):
                adapter.match(path, method=method)


def stored(kept: StoreResult) -> Stored:
    return Stored(kept, uuid.UUID(int=1), Status.PENDING, None, Lane.MEDIUM)


def test_what_is_kept_but_not_processed_yet_is_202() -> None:
    """Hooks 2.2: an accepted delivery that isn't processed yet MUST be answered 202; 200 MUST have a Content-Type."""
    assert views.answer_event(stored(StoreResult.NEW), KIND.accepted_status).status_code == 202
    assert posted(b"[]", {"content-type": BATCH})[0].status_code == 202
    known = views.answer_event(stored(StoreResult.DUPLICATE), KIND.accepted_status)
    assert (known.status_code, known.content_type) == (200, "application/json")


def test_a_refusal_for_the_rate_says_when_to_come_back() -> None:
    """Hooks 2.2: 429 MUST include Retry-After."""
    assert int(problem(429, "QuotaExceeded", "").headers["Retry-After"]) > 0


def test_only_a_sender_that_has_left_is_told_to_stop_for_good() -> None:
    """Hooks 2.2: 410 says that the target is retired."""
    assert status_of(SourceLeft()) == 410
    assert status_of(SourceDisabled()) == 503
    assert status_of(ContentTypeUnsupported()) == 415
    assert "410" in KIND.refusals


def test_the_token_comes_in_the_header_or_in_the_query() -> None:
    """Hooks 3, 3.1, 3.2: the target MUST support both; parameters are separated by &."""
    config = KIND.config()
    secret = "a+b/c= ü&d"
    for scheme in ("Bearer", "bearer", "BEARER"):
        header = {"authorization": f"{scheme} {secret.encode().decode('latin-1')}"}
        KIND.verify(Request(header, b"", AT), [secret], config)
    for query in (f"access_token={quote(secret)}", f"p=q&access_token={quote(secret, safe='+/=')}&r="):
        KIND.verify(Request({}, b"", AT, query=query.encode()), [secret], config)
    for refused in (
        b"access_token=",
        b"access_token",
        b"token=" + secret.encode(),
        f"other={quote(secret)}&access_token=a".encode(),
        b"xaccess_token=a",
        b"access_token=%ff",
    ):
        with pytest.raises(SignatureInvalid):
            KIND.verify(Request({}, b"", AT, query=refused), [secret], config)


def test_the_header_goes_before_the_query_and_neither_is_missing() -> None:
    """Hooks 3: one of the two methods MUST be used."""
    good = f"access_token={quote(TOKEN)}".encode()
    with pytest.raises(SignatureInvalid):
        KIND.verify(Request({"authorization": "Bearer other"}, b"", AT, query=good), [TOKEN], KIND.config())
    with pytest.raises(SignatureMissing, match="authorization"):
        KIND.verify(Request({}, b"", AT, query=b"a=b"), [TOKEN], KIND.config())
    with pytest.raises(SignatureMissing):
        KIND.verify(Request({}, b"", AT, query=good), [TOKEN], KIND.config.model_validate({"auth": "hmac"}))


@pytest.mark.parametrize("scheme", ["Basic", "Digest", "Bearer,", ""])
def test_no_other_scheme_is_taken(scheme: str) -> None:
    """Hooks 3, 3.1: the Bearer scheme MUST be used, challenge-based ones MUST NOT."""
    with pytest.raises(SignatureInvalid):
        KIND.verify(Request({"authorization": f"{scheme} {TOKEN}"}, b"", AT), [TOKEN], KIND.config())


def test_the_query_arrives_from_the_url() -> None:
    """Hooks 3.2."""
    _, request = posted(b"{}", {}, f"?p=q&access_token={quote(TOKEN)}")
    KIND.verify(request, [TOKEN], KIND.config())


@pytest.mark.parametrize(("options", "rate"), [({}, "*"), ({"rate_per_minute": 120}, "120")])
@pytest.mark.parametrize(
    "asked", [{}, {"webhook-request-rate": "500"}, {"webhook-request-callback": "https://x.example/?k"}]
)
def test_a_handshake_is_answered_with_both_headers(options: dict[str, Any], rate: str, asked: dict[str, str]) -> None:
    """Hooks 4.2, 4.2.1, 4.2.2: who may send MUST be told Allowed-Origin, as asked, and Allowed-Rate: * or positive."""
    headers = {"webhook-request-origin": "Lamps.example", **asked}
    for origins in ([], ["lamps.example", "other.example"], ["LAMPS.EXAMPLE"]):
        config = KIND.config.model_validate(options | {"origins": origins})
        greeting = KIND.greet(Hello("OPTIONS", headers, {}), config)
        assert greeting is not None
        assert greeting.headers == {
            "Allow": "POST",
            "WebHook-Allowed-Origin": "Lamps.example",
            "WebHook-Allowed-Rate": rate,
        }


def test_who_may_not_send_is_told_neither() -> None:
    """Hooks 4.1.2, 4.2: an origin MUST be given; only who may send is told so."""
    config = KIND.config.model_validate({"origins": ["lamps.example"]})
    for origin in ("evil.example", "", "a b", "*", "lamps.example.evil.example"):
        with pytest.raises(FieldInvalid):
            KIND.greet(Hello("OPTIONS", {"webhook-request-origin": origin}, {}), config)
    assert KIND.greet(Hello("OPTIONS", {}, {}), config) is None
    assert KIND.greet(Hello("GET", {"webhook-request-origin": "lamps.example"}, {}), config) is None
    with pytest.raises(ValueError, match="rate_per_minute"):
        KIND.config.model_validate({"rate_per_minute": 0})


@pytest.mark.parametrize("given", ["01JCAMPAIGN7Z", "a", "1.2.3", "", " 7", "0x1F", True, [], {"a": 1}])
def test_a_sequence_that_is_no_number_orders_nothing(given: object) -> None:
    """Sequence: MUST be a lexicographically-orderable string; what it means is between its users."""
    event = structured(sequence=given)
    assert (event.sequence, event.notes) == (None, ())
    assert event.payload["sequence"] == given
    assert event.version is not None


@pytest.mark.parametrize("kind", [None, "", "Integer", "integer", "absent"])
@pytest.mark.parametrize(("given", "order"), [("00042", "42"), ("-7", "-7"), (9, "9"), ("2147483647", "2147483647")])
def test_a_sequence_of_integers_orders_the_events_of_one_time(given: object, order: str, kind: str | None) -> None:
    """Sequence, Integer: values are string-encoded signed integers."""
    more: dict[str, Any] = {} if kind == "absent" else {"sequencetype": kind}
    assert str(structured(sequence=given, **more).sequence) == order
    assert binary(sequence=str(given)).sequence == structured(sequence=given).sequence


def test_a_sequence_of_another_type_orders_nothing_unless_asked() -> None:
    """Sequence, sequencetype: other values need an agreement with the producer, which the option order_by is."""
    assert structured(sequence="12", sequencetype="Hex").sequence is None
    event = structured(sequence="12", sequencetype="Hex", options={"order_by": "sequence"})
    assert event.version is not None
    assert (str(event.version.order), event.sequence) == ("12", None)


@pytest.mark.parametrize(
    ("given", "reason"),
    [("01JX", "isn't a version number"), ("", "is missing"), (None, "is missing"), (True, "isn't a version number")],
)
def test_who_orders_by_a_sequence_needs_one_that_counts(given: object, reason: str) -> None:
    """Sequence: with order_by sequence, one that can't be read makes the event unmapped."""
    with pytest.raises(FieldInvalid, match=f"^/sequence {reason}$"):
        structured(sequence=given, options={"order_by": "sequence"})


def test_a_delete_without_a_count_is_final() -> None:
    """Sequence: the arrival can't stand in for a count, but a final delete needs none."""
    deleted = {"type": "lamp.price.deleted", "without": "sequence"}
    assert structured(**deleted, options={"order_by": "sequence"}).version is None
    with pytest.raises(FieldInvalid, match="missing"):
        structured(**deleted, options={"order_by": "sequence", "reuses_ids": True})
    with pytest.raises(FieldInvalid, match=r"^/data/n is missing"):
        structured(options={"version_pointer": "/data/n", "version_clock": "counter"})
