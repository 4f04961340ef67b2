"""What is our own in reading CloudEvents: names, rules, what is kept of the unmapped, and HMACs."""

import pytest

from app.errors import FieldInvalid
from app.events.incoming import Operation
from app.inbox.unmapped import unmapped
from app.models import Outcome
from app.sources.kinds import Request
from app.sources.kinds.cloudevents import KIND
from tests.support.cloudevents import AT, HEADERS, TOKEN, binary, events, structured


@pytest.mark.parametrize(
    ("told", "event_type", "entity_type", "operation"),
    [
        ("com.example.object.deleted.v2", "com.example.object.deleted.v2", "object", "DELETE"),
        ("com.example.object.created.v1beta1", "com.example.object.created.v1beta1", "object", "CREATE"),
        ("lamp/price/removed", "lamp.price.removed", "price", "DELETE"),
        ("LampDeleted", "LampDeleted", "lampdeleted", "DELETE"),
        ("lamp", "lamp", "lamp", "UPDATE"),
        ("v2", "v2", "v2", "UPDATE"),
        ("lamp[eu].updated", "lamp-x5Beu-x5D.updated", "lamp-x5beu-x5d", "UPDATE"),
    ],
)
def test_a_type_of_any_form_has_a_noun_and_a_verb(
    told: str, event_type: str, entity_type: str, operation: str
) -> None:
    """Core, type: any text, maybe with a version in it."""
    event = structured(type=told)
    assert (event.type, event.entity_type, event.operation.name) == (event_type, entity_type, operation)


def test_an_entity_type_that_a_pointer_leads_to_has_any_form() -> None:
    """Ours: the option entity_pointer."""
    event = structured(data={"kind": "Lamp/Desk [EU]"}, options={"entity_pointer": "/data/kind"})
    assert event.entity_type == "lamp.desk.-x5beu-x5d"


def test_a_type_that_is_too_long_for_us_keeps_its_noun() -> None:
    """Core, type: any text."""
    long = structured(type="com." + "x" * 600 + ".lamp.deleted")
    assert (long.entity_type, long.operation.name, len(long.type)) == ("lamp", "DELETE", 100)


def test_rules_of_a_source_get_the_senders_own_names_and_time() -> None:
    """Ours: the option mapping, which also reads what the specversion would leave unmapped."""
    rules = {"lamp/offer": {"entity_type": "promotion", "id": "/data/code", "event_type": "promotion.updated"}}
    event = structured(type="lamp/offer", specversion="0.3", data={"code": "C"}, options={"mapping": rules})
    assert (event.type, event.entity_type, event.entity_id) == ("promotion.updated", "promotion", "C")
    assert event.version == structured().version
    assert structured(type="lamp/offer", sequence="5", data={"code": "C"}, options={"mapping": rules}).sequence == 5


def test_an_unmapped_binary_event_can_be_read_again_from_what_is_kept() -> None:
    """Ours: Kind.headers."""
    headers = {"content-type": "application/json", **HEADERS, "ce-shelf": "gr%C3%BCn", "authorization": "Bearer x"}
    kept = unmapped(
        Request({**headers, "user-agent": "x"}, b'{"a":1}', AT),
        "/subject is missing",
        kind=KIND,
        config=KIND.config(),
        secrets=[TOKEN],
        source="shop",
        source_id=1,
        revision=1,
    )
    assert kept.held is not None
    assert kept.held.outcome is Outcome.UNMAPPED
    assert kept.raw is not None
    assert kept.raw.headers == {name: value for name, value in headers.items() if name != "authorization"}
    (again,) = events(dict(kept.raw.headers), kept.raw.body)
    assert again.payload["shelf"] == "grün"


SIGNED = {"auth": "hmac", "id_pointer": "/data/id", "version_pointer": "/data/at"}
DATA = b'{"id":"L-7","at":"2026-11-06T21:19:00Z","op":"delete"}'


def test_under_an_hmac_the_headers_of_a_binary_event_say_nothing_that_counts() -> None:
    """Ours: they aren't signed (docs/adding-a-source.md)."""
    event = binary(DATA, options=SIGNED, subject="other", time="2027-01-01T00:00:00Z")
    assert (event.entity_id, event.content_key is not None) == ("L-7", True)
    assert event.version is not None
    assert event.version.text == "2026-11-06T21:19:00Z"
    for options, more in (
        ({"id_pointer": None}, {}),
        ({"id_pointer": "/subject"}, {}),
        ({"version_pointer": "/time"}, {}),
        ({"version_pointer": "/data/none"}, {}),
        ({"order_by": "sequence"}, {"sequence": "9"}),
        ({}, {"type": "lamp.price.deleted"}),
        ({}, {"type": "lamp.price.deleted.v2"}),
        ({"mapping": {"*": {"id": "/subject", "version": "/data/at"}}}, {}),
        ({"mapping": {"*": {"version": "/data/at"}}}, {}),
        ({"mapping": {"*": {"id": "/data/id"}}}, {}),
        ({"mapping": {"*": {"id": "/data/id", "version": "/time"}}}, {}),
        ({"mapping": {"*": {"id": "/data/id", "version": "/data/at", "operation": "delete"}}}, {}),
        ({"mapping": {"*": {"id": "/data/id", "version": "/data/at", "operation": "/type"}}}, {}),
        ({"mapping": {"*": {"id": "/data/id", "version": "/data/at"}}}, {"type": "lamp.deleted"}),
        ({"mapping": {"*": {"id": "/data/id", "version": "/data/at", "event_type": "lamp.deleted"}}}, {}),
    ):
        with pytest.raises(FieldInvalid, match=r"^the headers aren't signed: "):
            binary(DATA, options=SIGNED | options, **more)


def test_under_an_hmac_a_rule_may_follow_what_the_body_says() -> None:
    """Ours: what a signed field says holds, a delete too."""
    rule = {"id": "/data/id", "version": "/data/at", "operation": "/data/op"}
    assert binary(DATA, options=SIGNED | {"mapping": {"*": rule}}).operation is Operation.DELETE
    # The time is in a header.
    rule = {"id": "/data/id", "version": "/data/none"}
    assert binary(DATA, options=SIGNED | {"mapping": {"*": rule}}).version is None
    options = SIGNED | {"mapping": {"*": "ignore"}}
    assert events({**HEADERS, "content-type": "application/json"}, DATA, **options) == []
    each = {"each": "/data/list", "id": "/id", "version": "/at"}
    body = b'{"list":[{"id":"a","at":"2026-11-06T21:19:00Z"}]}'
    assert binary(body, options=SIGNED | {"mapping": {"*": each}}).entity_id == "a"
