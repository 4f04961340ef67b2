"""Whatever a verified sender sends becomes events that can be stored: any JSON, text or bytes, every mutation."""

import json
import random
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.db.recordset import packed
from app.events.canonical_json import parse
from app.inbox.mapper import Mapper
from app.inbox.prepare import NewEvent
from app.inbox.store import row_of
from app.models import Outcome
from app.priority import shipped
from app.sources.kinds import KINDS, Kind, Request
from app.sources.kinds.kind import Outgoing
from bench.soak.made import mutations
from tests.support.source_secrets import CONFIGS, JSON, SECRETS

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures").glob("*/*.json"))
AT = 1_794_000_000.0
CONTENT_TYPES = st.sampled_from(
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "application/x-ndjson",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "text/xml; charset=utf-16",
        "",
    ]
)
BODIES = (
    st.binary()
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | JSON.map(json.dumps).map(str.encode)
)


def mapper(kind: Kind, config: Any, secrets: list[str]) -> Mapper:
    return Mapper(
        source="shop",
        source_id=1,
        revision=1,
        kind=kind,
        config=config,
        secrets=secrets,
        decide=lambda event, _at: shipped().decide(event),
        skew_s=300.0,
    )


def assert_storable(events: list[NewEvent], secret: str) -> None:
    packed([row_of(event) for event in events])
    for event in events:
        parse(event.payload.encode())
        incoming = event.incoming
        for value in (incoming.external_id, incoming.type, incoming.entity_type, incoming.entity_id):
            assert 1 <= len(value.encode()) <= 2_048
            assert "\x00" not in value
        assert len(incoming.entity_id.encode()) <= 500
        assert len(event.keys) == len(set(event.keys)) > 0
        assert (event.raw is not None) == (event.held is not None and event.held.outcome is Outcome.UNMAPPED)
        if event.raw is not None:
            assert event.held is not None
            assert event.held.reason
            assert incoming.entity_id == str(event.id)
            assert secret.encode() not in event.raw.body
    assert len({event.id for event in events}) == len(events)
    assert len({key for event in events for key in event.keys}) <= sum(len(event.keys) for event in events)


@pytest.mark.parametrize(("name", "options"), CONFIGS)
@settings(max_examples=200)
@given(body=BODIES, content_type=CONTENT_TYPES)
@example(body=b"[]", content_type="application/json")
@example(body=b"", content_type="")
@example(body=b'\xef\xbb\xbf{"id":"\\ud83d"}', content_type="application/json")
def test_any_body_that_is_verified_becomes_events_that_can_be_stored(
    name: str, options: dict[str, Any], body: bytes, content_type: str
) -> None:
    kind = KINDS[name]
    config = kind.config.model_validate(options)
    secret = SECRETS[name]
    headers = kind.sign(Outgoing("msg-1", "price.updated", body, AT), secret, config)
    request = Request({"content-type": content_type, **headers}, body, AT)
    kind.verify(request, [secret], config)
    events, batch = mapper(kind, config, [secret]).events(request)
    assert events or batch
    if not events:
        assert content_type in {"application/x-ndjson", "application/cloudevents-batch+json"}
    assert_storable(events, secret)


def deliveries() -> list[Path]:
    return [path for path in FIXTURES if "refused" not in path.read_text()]


@pytest.mark.parametrize("path", deliveries(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_mutation_of_a_fixture_becomes_events_that_can_be_stored(path: Path) -> None:
    delivery = json.loads(path.read_text())
    if "body" not in delivery:
        return
    kind = KINDS[path.parent.name]
    config = kind.config.model_validate(delivery["config"])
    dice = random.Random(str(path.name))  # noqa: S311  # no secret
    for body in mutations(delivery["body"].encode(), dice, 20):
        request = Request(delivery["headers"], body, float(delivery["received_at"]))
        events, batch = mapper(kind, config, delivery["secrets"]).events(request)
        assert events or batch
        assert_storable(events, delivery["secrets"][0])


def test_an_unmapped_event_is_an_entity_of_its_own_with_the_id_it_is_given() -> None:
    kind = KINDS["standard"]
    (event,), _ = mapper(kind, kind.config(), []).events(Request({"webhook-id": "m"}, b"no json", AT))
    assert (event.incoming.entity_type, event.incoming.entity_id) == ("event", str(event.id))
    assert isinstance(event.id, uuid.UUID)
