"""Dashboards: well-formed, and every panel asks only for metrics that exist."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.alert_rules import RECORDED, existing

ROOT = Path(__file__).parents[2]
BOARDS = {path.stem: path for path in (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")}
OTHERS = re.compile(r"\b(?:rabbitmq|flower)_\w+")
"""Metrics of RabbitMQ and Flower, which are scraped beside ours."""
KPI_FIELDS = {"source", "campaign", "events", "on_time_rate", "throughput_per_s", "error_rate", "uptime"}


def board(name: str) -> Any:
    return json.loads(BOARDS[name].read_text())


def queries(name: str) -> list[str]:
    """Return every PromQL expression of a dashboard."""
    return [t["expr"] for panel in board(name)["panels"] for t in panel["targets"] if "expr" in t]


def test_there_is_one_of_each() -> None:
    assert set(BOARDS) == {"overview", "lane", "source", "campaign"}
    assert len({board(name)["uid"] for name in BOARDS}) == len(BOARDS)


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_asks_only_for_what_exists(name: str) -> None:
    for query in queries(name):
        assert set(re.findall(r"\btiercel_\w+", query)) <= existing(), query
        known = set(re.findall(r"\btiercel_\w+", query)) | set(OTHERS.findall(query))
        known |= {name for name in RECORDED if re.search(rf"(?<![\w:]){re.escape(name)}(?![\w:])", query)}
        assert known, query


@pytest.mark.parametrize("name", BOARDS)
def test_variables_are_filled_from_what_exists(name: str) -> None:
    variables = board(name)["templating"]["list"]
    assert {"datasource"} <= {variable["name"] for variable in variables}
    for variable in variables:
        if variable["type"] == "query":
            assert set(re.findall(r"tiercel_\w+", variable["query"]["query"])) <= existing()


def test_every_metric_of_ours_is_on_a_dashboard_or_behind_a_rule() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text()
    asked = set(re.findall(r"\btiercel_\w+", "\n".join(query for name in BOARDS for query in queries(name)) + rules))
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in existing()} <= shown


def test_the_campaigns_table_asks_for_figures_that_the_desk_has() -> None:
    (table,) = (panel for panel in board("campaign")["panels"] if panel["type"] == "table")
    columns = {column["selector"] for target in table["targets"] for column in target["columns"]}
    assert columns - {"latency_s.mean", "latency_s.p95", "wait_s.mean", "wait_s.peak"} == KPI_FIELDS


def test_prometheus_reads_ours_rabbitmq_and_flower_and_all_rules() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    assert {job["job_name"] for job in config["scrape_configs"]} == {"tiercel", "rabbitmq", "flower"}
    assert config["rule_files"] == ["rules.yml", "alerts.yml"]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for job in config["scrape_configs"]:
        for target in job["static_configs"][0]["targets"]:
            assert target.partition(":")[0] in services
