"""What the running system says about itself: the truth, also when a worker is killed on the way."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from tests.acceptance.conftest import ROOT, System
from tests.support.shop import Shop
from tests.support.waiting import free_port, wait_until

TYPES = ("price.updated", "segment.updated", "log.created")


def scraped(system: System, name: str, source: str) -> Counter[str]:
    """Return one counter of a source, by its outcome or result."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(requests.get(f"{system.url}/metrics", timeout=10).text):
        for sample in family.samples:
            if sample.name == name and sample.labels["source"] == source:
                found[sample.labels.get("outcome") or sample.labels["result"]] += int(sample.value)
    return +found


def truth(system: System, source: str) -> Counter[str]:
    with system.engine.begin() as connection:
        rows = connection.execute(
            text(
                "SELECT outcome, count(*) FROM event e JOIN source s ON s.id = e.source_id WHERE s.name = :source "
                "AND outcome IS NOT NULL GROUP BY 1"
            ),
            {"source": source},
        )
        names = {1: "applied", 2: "stale", 3: "superseded", 4: "tombstoned", 5: "expired", 6: "unchanged", 7: "dead"}
        return Counter({names[row[0]]: row[1] for row in rows})


def pool_of(lane: str) -> list[psutil.Process]:
    """Return the processes of this run's workers of a lane that apply events."""
    home = os.environ["TIERCEL_HOME"]
    found = []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        try:
            line = process.info["cmdline"] or []
            if f"{lane}@%h" in line and process.environ().get("TIERCEL_HOME") == home:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    pids = {process.pid for process in found}
    return [process for process in found if process.info["ppid"] in pids]


def test_every_outcome_counter_is_the_truth_also_when_a_worker_is_killed(system: System) -> None:
    shop = Shop(system)
    accepted = 0
    for number in range(150):
        kind = TYPES[number % 3]
        answer = shop.send(
            kind, {"id": f"x{number % 20}", "amount": str(number), "currency": "EUR"}, f"msg_{shop.name}{number}"
        )
        accepted += answer.status_code == 202
        if number == 60:
            pool_of("high")[0].send_signal(signal.SIGKILL)
    for number in range(10):
        answer = shop.send("price.updated", {"id": "again"}, f"msg_{shop.name}{number}")
        assert answer.headers["X-Event-Status"] == "CONFLICT"
    wait_until(lambda: truth(system, shop.name).total() == accepted)
    expected = truth(system, shop.name)
    wait_until(lambda: scraped(system, "tiercel_events_ended_total", shop.name) == expected)
    received = scraped(system, "tiercel_events_received_total", shop.name)
    assert received == {"new": accepted, "conflict": 10}
    wait_until(lambda: len(pool_of("high")) == 2)


def test_each_process_group_reports(system: System) -> None:
    Shop(system).send("price.updated", {"id": "1"})
    groups = set()

    def complete() -> bool:
        shown = requests.get(f"{system.url}/metrics", timeout=10).text
        groups.update(re.findall(r'tiercel_process_resident_memory_bytes\{group="([\w-]+)"\}', shown))
        return {"web", "dispatcher", "high"} <= groups

    wait_until(complete)


@pytest.fixture
def prometheus(system: System, tmp_path: Path) -> Iterator[str]:
    """Debian's Prometheus, with our rules, reading the running system; its URL."""
    program = shutil.which("prometheus")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("prometheus is missing: Debian's package prometheus has it")
        pytest.skip("no prometheus: Debian's package prometheus has it")
    folder = ROOT / "deploy" / "prometheus"
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(folder / name) for name in config["rule_files"]]
    del config["alerting"]
    config["scrape_configs"] = [
        {"job_name": "tiercel", "static_configs": [{"targets": [system.url.removeprefix("http://")]}]},
        {"job_name": "flower", "static_configs": [{"targets": [f"127.0.0.1:{system.flower_port}"]}]},
    ]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    argv = [program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with subprocess.Popen(argv) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_prometheus_reads_the_running_system_and_answers_every_panel(system: System, prometheus: str) -> None:
    shop = Shop(system)

    def ask(query: str) -> Any:
        try:
            return requests.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=10).json()
        except requests.RequestException:  # it isn't up yet
            return {"data": {"result": []}}

    def busy_and_seen() -> bool:
        for kind in TYPES:
            shop.send(kind, {"id": "1"})
        rates = ask(f'marketing_event_ingestion_rate{{source="{shop.name}"}} > 0')["data"]["result"]
        return bool(rates and ask("worker_retry_ratio")["data"]["result"])

    wait_until(busy_and_seen)
    answered = {}
    for board in (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"):
        for panel in json.loads(board.read_text())["panels"]:
            for target in panel["targets"]:
                if "expr" in target:
                    query = target["expr"].replace("$lane", "high").replace("$source", shop.name)
                    answer = ask(query)
                    assert answer["status"] == "success", (panel["title"], answer)
                    answered[query] = len(answer["data"]["result"])
    # Nothing was refused here, Flower has hardly begun, and a private RabbitMQ has no plugin for its metrics.
    silent = {query for query, found in answered.items() if not found}
    assert {query for query in silent if not re.search(r"refused|rabbitmq_|flower_", query)} == set()
    assert ask('ALERTS{alertstate="firing"}')["data"]["result"] == []
