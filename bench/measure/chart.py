"""Owns drawing a line chart as SVG: axes, grid, lines with their spread, a legend. No library, no script, no font."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench.harness.figures import Point, Series, number

_WIDTH, _HEIGHT = 800, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 260, 48, 52
# Told apart by colour-blind readers, too (Okabe and Ito), on white and on black.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#888888")
_GREY = "#777777"
_GRID = f'stroke="{_GREY}" stroke-opacity="0.25"'
_STEPS = (1, 2, 2.5, 5, 10)
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction: which values it shows, and where they lie, in pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def at(self, value: float) -> float:
        """Return where a value lies."""
        if self.log:
            low, high, value = math.log10(self.low), math.log10(self.high), math.log10(max(value, self.low))
        else:
            low, high = self.low, self.high
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return round values to label."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if len(powers) < _TICKS else (1,)
            found = [step * 10.0**power for power in powers for step in steps]
        else:
            rough = (self.high - self.low) / _TICKS
            unit = 10 ** math.floor(math.log10(rough))
            step = next(unit * step for step in _STEPS if unit * step >= rough)
            first = math.ceil(self.low / step)
            found = [step * (first + place) for place in range(_TICKS * 3)]
        return [value for value in found if self.low <= value <= self.high * 1.0001]


def axis(values: Iterable[float], start: float, end: float, *, log: bool) -> Axis:
    """Return an axis that shows all values; one that isn't logarithmic begins at 0."""
    ranked = sorted(values)
    if log:
        positive = [value for value in ranked if value > 0] or [1.0]
        return Axis(positive[0] / 1.15, positive[-1] * 1.15, start, end, log=True)
    return Axis(0.0, (ranked[-1] if ranked else 0) * 1.05 or 1.0, start, end, log=False)


def draw(series: Series) -> str:
    """Return a picture as SVG."""
    points = [point for line in series.lines.values() for point in line]
    x = axis((point.x for point in points), _LEFT, _WIDTH - _RIGHT, log=series.log_x)
    spread = [value for point in points for value in (point.low, point.high)]
    y = axis(spread, _HEIGHT - _BOTTOM, _TOP, log=series.log_y)
    body = [_text(_LEFT, 20, series.title, size=15), *_grid(x, y), *_axis_names(series)]
    for place, (name, line) in enumerate(series.lines.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        body += _line(line, x, y, colour)
        top = _TOP + 18 * place
        body.append(f'<rect x="{_WIDTH - _RIGHT + 16}" y="{top}" width="12" height="4" fill="{colour}"/>')
        body.append(_text(_WIDTH - _RIGHT + 34, top + 7, name))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
    words = f'<g font-family="sans-serif" fill="{_GREY}">'
    return "\n".join([head, f"<title>{escape(series.title)}</title>", words, *body, "</g>", "</svg>\n"])


def _grid(x: Axis, y: Axis) -> list[str]:
    found = []
    for value in x.ticks():
        at = x.at(value)
        found.append(f'<path d="M{at:.1f} {y.start}V{y.end}" {_GRID}/>')
        found.append(_text(at, _HEIGHT - _BOTTOM + 18, number(value), anchor="middle"))
    for value in y.ticks():
        at = y.at(value)
        found.append(f'<path d="M{x.start} {at:.1f}H{x.end}" {_GRID}/>')
        found.append(_text(_LEFT - 8, at + 4, number(value), anchor="end"))
    return found


def _axis_names(series: Series) -> list[str]:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return [
        _text(middle, _HEIGHT - 10, series.x, anchor="middle"),
        _text(_LEFT, _TOP - 8, series.y),
    ]


def _line(line: Sequence[Point], x: Axis, y: Axis, colour: str) -> list[str]:
    ordered = sorted(line, key=lambda point: point.x)
    path = " ".join(f"{x.at(point.x):.1f},{y.at(point.y):.1f}" for point in ordered)
    found = [f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>']
    for point in ordered:
        at = x.at(point.x)
        spread = f"M{at:.1f} {y.at(point.low):.1f}V{y.at(point.high):.1f}"
        found.append(f'<path stroke="{colour}" stroke-opacity="0.6" d="{spread}"/>')
        found.append(f'<circle cx="{at:.1f}" cy="{y.at(point.y):.1f}" r="3" fill="{colour}"/>')
    return found


def _text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(words)}</text>'
