"""Alerts and rules: only metrics that exist, a page and a test for each alert, and promtool's own verdict."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from app.reporting.kpis import OBJECTIVES_S
from bench.measure import alerts
from bench.measure.faults import FAULTS
from tests.support.alert_rules import FOLDER, RECORDED, ROOT, existing, rules

OF_THE_FIELD = {"marketing_event_ingestion_rate", "worker_retry_ratio", "api_error_rate", "event_processing_lag"}


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
CASES = yaml.safe_load((FOLDER / "alerts.test.yml").read_text())["tests"]


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is missing: Debian's package prometheus has it")
        pytest.skip("no promtool: Debian's package prometheus has it")
    return subprocess.run([program, *words], cwd=FOLDER, capture_output=True, text=True, check=False)


def test_rules_and_alerts_ask_only_for_metrics_that_exist() -> None:
    for rule in [*rules("rules.yml"), *rules("alerts.yml")]:
        asked = set(re.findall(r"\btiercel_\w+", rule["expr"]))
        assert asked <= existing(), rule
        assert set(re.findall(r"\btiercel:\w+", rule["expr"])) <= RECORDED, rule


def test_the_four_figures_of_the_field_are_recorded() -> None:
    assert RECORDED >= OF_THE_FIELD


def test_the_lanes_objectives_are_those_of_the_kpis() -> None:
    found = {
        rule["labels"]["lane"]: rule["expr"] for rule in rules("rules.yml") if ":lane_objective" in rule["record"]
    }
    assert found == {lane.name.lower(): f"vector({seconds:g})" for lane, seconds in OBJECTIVES_S.items()}


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_has_its_page(name: str) -> None:
    assert ALERTS[name]["annotations"]["runbook"] == f"docs/runbooks/{name}.md"
    text = (ROOT / "docs" / "runbooks" / f"{name}.md").read_text()
    assert f"`{' '.join(ALERTS[name]['expr'].split())}`" in text
    assert "\n## Look\n" in text
    assert "\n## Do\n" in text


def test_no_page_is_left_of_an_alert_that_is_gone() -> None:
    assert {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")} == {"README", *ALERTS}


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_is_tested_before_while_it_fires_and_in_a_healthy_hour(name: str) -> None:
    own = [test for case in CASES if case["name"] == f"{name} fires" for test in case["alert_rule_test"]]
    assert [bool(test["exp_alerts"]) for test in own] == [False, True]
    (healthy,) = (case for case in CASES if case["name"] == "a healthy hour fires nothing")
    assert len([test for test in healthy["alert_rule_test"] if test["alertname"] == name]) == 3


@pytest.mark.parametrize(
    "words", [("check", "rules", "rules.yml", "alerts.yml"), ("test", "rules", "alerts.test.yml")], ids=" ".join
)
def test_promtool_agrees(words: tuple[str, ...]) -> None:
    result = promtool(*words)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_alert_has_a_fault_that_brings_it_about() -> None:
    assert sorted(name for fault in FAULTS for name in fault.alerts) == sorted(ALERTS)


def test_compressed_rules_are_rules_with_every_duration_divided(tmp_path: Path) -> None:
    found = alerts.compressed(tmp_path, 15)
    result = promtool("check", "rules", *(str(tmp_path / name) for name in ("rules.yml", "alerts.yml")))
    assert result.returncode == 0, result.stdout + result.stderr
    text = (tmp_path / "alerts.yml").read_text() + (tmp_path / "rules.yml").read_text()
    assert set(re.findall(r"\[(\w+)\]|(?:for|interval): (\w+)", text)) == {
        *(("40s", ""), ("60s", ""), ("20s", ""), ("4s", "")),
        *(("", "20s"), ("", "4s"), ("", "2s"), ("", "1s")),
    }
    # 5 minutes of rates, 5 minutes of for, 45 s of intervals.
    assert found.allowed_s["WorkerRetryRatio"] == 43
