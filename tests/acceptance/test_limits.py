"""Limits in the whole system: one budget over all receiver processes, and what was refused in one count."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from app.sources.configured import Limit
from tests.acceptance.conftest import System
from tests.support.shop import Shop, wait_for

PER_S, BURST, COUNT = 2.0, 20, 120


def shed(system: System) -> int:
    lanes: list[dict[str, Any]] = system.get("/v1/lanes").json()["items"]
    return int(lanes[0]["shed_total"])


def test_a_budget_holds_over_all_processes_and_each_refusal_is_honest_and_counted(system: System) -> None:
    shop, before = Shop(system, Limit(PER_S, BURST)), shed(system)

    def send(number: int) -> requests.Response:
        return shop.send("price.updated", {"id": f"limit-{number}", "amount": "1", "currency": "EUR"})

    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(COUNT)))
    elapsed = time.monotonic() - began
    accepted = [answer for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(accepted) + len(refused) == COUNT
    assert BURST <= len(accepted) <= BURST + PER_S * elapsed + system.settings.web_processes
    for answer in refused:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["RateLimit-Policy"] == '"source";q=20;w=10'
        assert answer.headers["RateLimit"] == f'"source";r=0;t={answer.headers["Retry-After"]}'
    time.sleep(int(refused[-1].headers["Retry-After"]))  # what a sender does
    assert send(COUNT).status_code == 202
    assert wait_for(lambda: shed(system) - before, lambda found: found >= len(refused)) == len(refused)
    assert {shop.event(answer)["outcome"] for answer in accepted} == {"applied"}
