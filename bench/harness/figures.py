"""Owns what a run of `make bench` found: figures with their bounds, series for the pictures, the table, the JSON."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FORM = 1
"""Of the JSON; another one is another number."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure's median must be."""

    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        """Tell whether a median is within the bound."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        low = [] if self.at_least is None else [f"≥ {number(self.at_least)}"]
        return ", ".join(low + ([] if self.at_most is None else [f"≤ {number(self.at_most)}"]))


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured several times."""

    part: str
    name: str
    unit: str
    values: Sequence[float]
    """One a round, in their order."""
    bound: Bound | None = None

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def holds(self) -> bool | None:
        """Whether the bound holds; None where there is none."""
        return None if self.bound is None else self.bound.holds(self.median)


@dataclass(frozen=True, slots=True)
class Point:
    """A median and its spread at one place of a line."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Series:
    """What one picture shows: lines of points over one quantity."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[Point]]
    log_x: bool = False
    log_y: bool = False


@dataclass(slots=True)
class Results:
    """Everything that one run found."""

    machine: Mapping[str, Any]
    sizes: Mapping[str, Any]
    """How long and how much was measured."""
    figures: list[Figure] = field(default_factory=list)
    series: dict[str, Series] = field(default_factory=dict)
    """By the picture's file name."""
    notes: list[str] = field(default_factory=list)
    """What went wrong without ending the run."""

    def add(self, part: str, name: str, unit: str, values: Sequence[float], bound: Bound | None = None) -> None:
        """Keep a figure; nothing is kept where nothing was measured."""
        if values:
            self.figures.append(Figure(part, name, unit, list(values), bound))

    def missed(self) -> list[Figure]:
        """Return the figures whose bound doesn't hold."""
        return [figure for figure in self.figures if figure.holds is False]

    def to_json(self) -> str:
        """Return all of it as JSON."""
        figures = [
            {**asdict(figure), "median": figure.median, "low": min(figure.values), "high": max(figure.values)}
            | {"bound": None if figure.bound is None else str(figure.bound), "holds": figure.holds}
            for figure in self.figures
        ]
        told = {
            "form": FORM,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": dict(self.machine),
            "sizes": dict(self.sizes),
            "figures": figures,
            "series": {name: asdict(series) for name, series in self.series.items()},
            "notes": self.notes,
        }
        return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return round by round how many times one is the other; rounds where one failed are left out."""
    return [one / other for one, other in zip(above, below, strict=False) if other]


def point(x: float, values: Sequence[float]) -> Point:
    """Return a line's point from the values of several rounds."""
    return Point(x, statistics.median(values), min(values), max(values))


def read_series(path: Path) -> dict[str, Series]:
    """Return the series of a JSON file.

    Raises:
        ValueError: the file isn't one of ours.
    """
    told = json.loads(path.read_text())
    if told.get("form") != FORM:
        raise ValueError(f"{path} isn't what make bench --json writes")
    return {
        name: Series(**{**one, "lines": {line: [Point(**p) for p in points] for line, points in one["lines"].items()}})
        for name, one in told["series"].items()
    }


def number(value: float) -> str:
    """Return a number with three digits or so."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def show(console: Console, results: Results) -> None:
    """Print the table: medians, their spread, the bounds."""
    table = Table(box=None, pad_edge=False)
    for name in ("part", "what", "", "median", "lowest", "highest", "rounds", "bound", ""):
        table.add_column(
            name, justify="left" if name in {"part", "what", "bound"} else "right", no_wrap=name != "what"
        )
    before = ""
    for figure in results.figures:
        verdict = {None: "", True: "yes", False: "[red]NO[/red]"}[figure.holds]
        spread = (number(value) for value in (figure.median, min(figure.values), max(figure.values)))
        part = figure.part if figure.part != before else ""
        before = figure.part
        bound = "" if figure.bound is None else str(figure.bound)
        table.add_row(part, figure.name, figure.unit, *spread, str(len(figure.values)), bound, verdict)
    console.print(table)
    for note in results.notes:
        console.print(f"[red]{note}[/red]", highlight=False)
