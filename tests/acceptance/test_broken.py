"""What happens while a service is frozen: the sender is answered in time, and nothing is lost."""

import contextlib
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
import requests

from deploy.local import programs
from deploy.local.rabbitmq import RabbitMQ
from tests.acceptance.conftest import System
from tests.support.freezing import frozen
from tests.support.shop import Shop, wait_for


@pytest.fixture
def shop(system: System) -> Shop:
    made = Shop(system)
    made.event(made.send("price.updated", price("warm")))
    return made


def price(entity_id: str) -> dict[str, str]:
    return {"id": entity_id, "amount": "1", "currency": "EUR"}


def test_a_frozen_broker_fails_and_slows_no_sender_and_loses_nothing(shop: Shop) -> None:
    with frozen("rabbitmq"):
        responses = [shop.send("price.updated", price(str(number))) for number in range(30)]
        assert [response.status_code for response in responses] == [202] * 30
        # A request that had waited for the broker would have waited for seconds: its socket's time-out is 5 s.
        assert max(response.elapsed.total_seconds() for response in responses) < 4
    assert {shop.event(response)["outcome"] for response in responses} == {"applied"}


def memory_alarm(limit: str) -> None:
    """Set the share of memory at which RabbitMQ stops taking messages."""
    home = Path(os.environ["TIERCEL_HOME"])
    if not (home / "rabbitmq").exists():
        pytest.skip("rabbitmq isn't a private service of this run")
    broker = RabbitMQ(home, json.loads((home / "ports.json").read_text()), "")
    control = [programs.find("rabbitmq-server", "rabbitmqctl"), "set_vm_memory_high_watermark", limit]
    env = broker._environment()
    subprocess.run(programs.command(control), env=env, cwd=broker.folder, check=True, capture_output=True)


def test_a_full_broker_fails_no_sender_and_loses_nothing(shop: Shop) -> None:
    memory_alarm("0.0000001")
    try:
        responses = [shop.send("price.updated", price(str(number))) for number in range(10)]
        assert [response.status_code for response in responses] == [202] * 10
    finally:
        memory_alarm("0.4")
    assert {shop.event(response)["outcome"] for response in responses} == {"applied"}


def test_a_frozen_redis_changes_no_answer(shop: Shop) -> None:
    with frozen("redis"):
        responses = [shop.send("price.updated", price(str(number))) for number in range(10)]
        assert {shop.event(response)["outcome"] for response in responses} == {"applied"}


def test_a_frozen_database_is_503_and_everything_goes_on_afterwards(system: System, shop: Shop) -> None:
    with frozen("postgresql"):
        refused = shop.send("price.updated", price("frozen"))
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
    accepted = wait_for(
        lambda: shop.send("price.updated", price("thawed")), lambda response: bool(response.status_code == 202)
    )
    assert shop.event(accepted)["outcome"] in {"applied", "unchanged"}


def test_senders_that_stop_in_the_middle_of_a_request_hold_up_no_other(system: System, shop: Shop) -> None:
    address = ("127.0.0.1", int(system.url.rpartition(":")[2]))
    lines = [f"POST /webhooks/{shop.name} HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 9"]
    head = "\r\n".join([*lines, "", "{"])
    threads = system.settings.web_processes * system.settings.web_threads
    with contextlib.ExitStack() as open_ones:
        for number in range(threads + 16):
            half = open_ones.enter_context(socket.create_connection(address))
            half.sendall(head.encode() if number % 2 else b"P")
        assert shop.send("price.updated", price("after")).status_code == 202
        assert requests.get(f"{system.url}/livez", timeout=20).status_code == 200
