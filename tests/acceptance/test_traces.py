"""One event's trace over gunicorn, dispatcher and worker, as a collector gets it."""

import secrets
from typing import Any

import redis
import requests
from sqlalchemy import text

from tests.acceptance.conftest import System
from tests.support.shop import Shop
from tests.support.waiting import wait_until

THEIRS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
WORKED = ("lock", "claim", "apply", "finish")


def test_an_event_is_one_trace_over_all_processes(system: System) -> None:
    shop = Shop(system)
    answer = shop.send("price.updated", {"id": "1", "amount": "1", "currency": "EUR"}, traceparent=THEIRS)
    wanted = {"receive": 1, "prepare": 1, "store": 1, "publish": 1, "queue": 1, "process": 1}
    spans = system.traces.wait(answer.json()["id"], wanted)
    (root,), (worked,), (published,) = spans["receive"], spans["process"], spans["publish"]
    assert (root.service, root.parent, root.links) == ("tiercel-web", "", (THEIRS[3:-3].replace("-", "/"),))
    assert root.attributes["http.response.status_code"] == 202
    assert (root.attributes["tiercel.source"], root.attributes["http.route"]) == (shop.name, "/webhooks/<name>")
    assert (published.service, worked.service) == ("tiercel-web", "tiercel-high")
    assert {span.parent for name in ("prepare", "store", "publish", "queue", "process") for span in spans[name]} == {
        root.id
    }
    assert {spans[name][0].parent for name in WORKED} == {worked.id}
    assert worked.attributes["tiercel.outcome"] == "applied"


def test_a_refused_request_has_a_trace_and_no_link_to_whoever_sent_it(system: System) -> None:
    shop = Shop(system)
    wrong = {"content-type": "application/json", "traceparent": THEIRS, "webhook-id": secrets.token_hex(8)}
    requests.post(f"{system.url}/webhooks/{shop.name}", data="{}", headers=wrong, timeout=10)

    def found() -> list[Any]:
        return [span for span in system.traces.spans if span.attributes.get("tiercel.source") == shop.name]

    wait_until(lambda: bool(found()))
    assert [(span.attributes["http.response.status_code"], span.links) for span in found()] == [(401, ())]


def test_what_the_dispatcher_publishes_again_and_a_replay_are_in_the_same_trace(system: System) -> None:
    shop = Shop(system)
    with system.engine.connect() as connection:
        name = {"name": shop.name}
        source = connection.execute(text("SELECT id FROM source WHERE name = :name"), name).scalar_one()
    # Given an entity that somebody holds, so that the event is parked and its pointer spent
    with redis.Redis.from_url(system.settings.redis_url) as client:
        client.set(f"tiercel:entity:{source}/price/1", "somebody", px=2_000)
    answer = shop.send("price.updated", {"id": "1", "amount": "1", "currency": "EUR"})
    # Then the dispatcher publishes it again
    event = shop.event(answer)
    assert event["outcome"] == "applied"
    spans = system.traces.wait(event["id"], {"publish": 2, "process": 1})
    (root,) = spans["receive"]
    assert [span.service for span in spans["publish"]] == ["tiercel-web", "tiercel-dispatcher"]
    # When it is replayed
    asked = {"Authorization": f"Bearer {system.key}"}
    replayed = requests.post(f"{system.url}/v1/events/{event['id']}/replay", headers=asked, timeout=10)
    assert replayed.status_code == 202
    spans = system.traces.wait(event["id"], {"publish": 3, "process": 2})
    assert {span.parent for name in ("publish", "process") for span in spans[name]} == {root.id}
    assert [span.attributes["tiercel.dispatches"] for span in spans["process"]] == [1, 0]
    assert [span.attributes["tiercel.replays"] for span in spans["process"]] == [0, 1]
