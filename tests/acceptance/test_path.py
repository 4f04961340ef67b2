"""One event's way, end to end, as a sender and a person at the desk see it."""

import secrets

import pytest
import requests

from tests.acceptance.conftest import System
from tests.support.shop import Shop, wait_for


@pytest.fixture(scope="module")
def shop(system: System) -> "Shop":
    return Shop(system)


def test_a_signed_webhook_becomes_an_updated_row(system: System, shop: Shop) -> None:
    response = shop.send("price.updated", {"id": "sku/1", "amount": "19.90", "currency": "EUR"})
    assert response.status_code == 202
    event = shop.event(response)
    assert (event["outcome"], event["lane"]) == ("applied", "high")
    entity = system.get(f"/v1/entities/{shop.name}/price/sku/1").json()
    assert entity["data"] == {"id": "sku/1", "amount": "19.90", "currency": "EUR"}
    assert entity["event_id"] == event["id"]


@pytest.mark.parametrize(("event_type", "lane"), [("segment.updated", "medium"), ("log.written", "low")])
def test_every_lane_has_its_workers(shop: Shop, event_type: str, lane: str) -> None:
    event = shop.event(shop.send(event_type, {"id": "1"}))
    assert (event["outcome"], event["lane"]) == ("applied", lane)


def test_an_update_that_arrives_late_changes_nothing(system: System, shop: Shop) -> None:
    new = {"id": "late", "amount": "2", "currency": "EUR", "updated_at": "2026-01-01T00:00:00.002Z"}
    old = {"id": "late", "amount": "1", "currency": "EUR", "updated_at": "2026-01-01T00:00:00.001Z"}
    assert shop.event(shop.send("price.updated", new))["outcome"] == "applied"
    assert shop.event(shop.send("price.updated", old))["outcome"] == "stale"
    assert system.get(f"/v1/entities/{shop.name}/price/late").json()["data"] == new


def test_a_duplicate_is_applied_once(shop: Shop) -> None:
    data = {"id": "twice", "amount": "1", "currency": "EUR", "updated_at": "2026-01-01T00:00:00Z"}
    message_id = f"msg_{secrets.token_hex(8)}"
    first = shop.send("price.updated", data, message_id)
    event = shop.event(first)
    again = requests.post(first.request.url or "", data=first.request.body, headers=first.request.headers, timeout=10)
    assert (again.status_code, again.headers["X-Event-Status"]) == (200, "DUPLICATE")
    assert again.json() == {"id": event["id"], "status": "completed", "outcome": "applied", "lane": "high"}


def test_readyz_is_ok_when_everything_runs(system: System) -> None:
    wait_for(
        lambda: requests.get(system.url + "/readyz", timeout=10).json(), lambda ready: bool(ready["status"] == "ok")
    )


def test_lanes_show_their_latency(system: System, shop: Shop) -> None:
    shop.event(shop.send("price.updated", {"id": "seen", "amount": "1", "currency": "EUR"}))
    high = system.get("/v1/lanes").json()["items"][0]
    assert high["lane"] == "high"
    assert high["latency_ms"]["p50"] > 0


def test_an_ended_event_can_be_replayed(system: System, shop: Shop) -> None:
    event = shop.event(shop.send("segment.updated", {"id": "again", "name": "VIP"}))
    key = {"Authorization": f"Bearer {system.key}"}
    response = requests.post(f"{system.url}/v1/events/{event['id']}/replay", headers=key, timeout=10)
    assert response.status_code == 202
    replayed = shop.event(response)
    assert replayed["outcome"] == "unchanged"


def test_flower_asks_for_its_password(system: System) -> None:
    flower = f"http://127.0.0.1:{system.flower_port}"
    assert requests.get(f"{flower}/workers", timeout=10).status_code == 401
    assert requests.get(f"{flower}/workers", auth=("tiercel", "flower"), timeout=10).status_code == 200


def test_many_events_at_once_all_end_and_each_entity_is_at_its_newest(system: System, shop: Shop) -> None:
    responses = [
        shop.send(
            "price.updated",
            {
                "id": f"many-{number % 5}",
                "amount": str(number),
                "currency": "EUR",
                "updated_at": f"2026-01-01T00:00:{number:02d}Z",
            },
        )
        for number in range(50)
    ]
    outcomes = {shop.event(response)["outcome"] for response in responses}
    assert outcomes <= {"applied", "superseded", "stale"}
    for entity in range(5):
        data = system.get(f"/v1/entities/{shop.name}/price/many-{entity}").json()["data"]
        assert data["amount"] == str(45 + entity)
