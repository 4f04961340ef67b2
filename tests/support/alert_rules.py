"""The metrics that exist, and the series that rules record."""

from pathlib import Path
from typing import Any

import yaml

from app.observability.process_metrics import MEASURES, HistogramMetric
from app.reporting.prometheus import FAMILIES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"


def rules(file: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((FOLDER / file).read_text())["groups"] for rule in group["rules"]]


RECORDED = {rule["record"] for rule in rules("rules.yml")}


def existing() -> set[str]:
    """Return the name of every series that an endpoint shows."""
    plain = {family.name for family in FAMILIES} | {measure.name for measure in MEASURES}
    spread = {measure.name for measure in MEASURES if isinstance(measure, HistogramMetric)}
    spread |= {family.name for family in FAMILIES if "Histogram" in family.kind.__name__}
    return plain | {name + suffix for name in spread for suffix in ("_bucket", "_sum", "_count")}
