"""Owns the day's picture: what came in time in each hour, by scheduler, as an SVG of plain shapes."""

from collections.abc import Mapping
from html import escape

from bench.simulate.report import Figures
from bench.simulate.trace import FLOOD_S, HOUR_S, NOON_S

_WIDTH, _HEIGHT = 760, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 150, 44, 40
_COLOURS = {"FIFO": "#b3541e", "static tiers": "#7a6fb0", "this policy": "#0b7a5c"}
_BOUND = "#888888"
_TEXT = 'font-family="sans-serif" font-size="12" fill="#444444"'


def draw(found: Mapping[str, Figures], bound: float) -> str:
    """Return the picture; ``bound`` is the day's bound, a part of all value."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        "<title>The part of each hour's value that was applied in time, by scheduler</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _band(NOON_S, "3 times too much"),
        _band(FLOOD_S, "one tenant floods"),
        *[_level(share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)],
        *[_said(_x(hour), _HEIGHT - _BOTTOM + 18, f"{hour}:00", "middle") for hour in range(0, 24, 3)],
        _said(_LEFT, 18, "Value applied in time, by the hour from which it counts", "start"),
    ]
    parts.append(_said(_x(24) + 8, _TOP - 6, f"bound: {bound:.1%} of the day", "start", _BOUND))
    place = 0.0
    for name, one in sorted(found.items(), key=lambda item: -item[1].on_time):
        colour = _COLOURS.get(name, "#444444")
        points = " ".join(f"{_x(hour + 0.5):.1f},{_y(share):.1f}" for hour, share in enumerate(one.by_hour))
        # Names one below the other, near the end of their lines.
        place = max(min(_y(one.by_hour[-1]) + 12, _y(0) - 14), place + 36)
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>',
            _said(_x(24) + 8, place, name, "start", colour),
            _said(_x(24) + 8, place + 14, f"{one.on_time:.1%} of the day", "start", colour),
        ]
    return "\n".join([*parts, "</svg>", ""])


def _x(hour: float) -> float:
    return _LEFT + hour / 24 * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)


def _band(times_s: tuple[float, float], name: str) -> str:
    begin, end = (_x(time_s / HOUR_S) for time_s in times_s)
    shape = f'<rect x="{begin:.1f}" y="{_TOP}" width="{end - begin:.1f}" height="{_y(0) - _TOP:.1f}" fill="#f2e3c6"/>'
    return shape + _said((begin + end) / 2, _TOP - 6, name, "middle")


def _level(share: float) -> str:
    line = f'<line x1="{_LEFT}" x2="{_x(24):.1f}" y1="{_y(share):.1f}" y2="{_y(share):.1f}" stroke="#dddddd"/>'
    return line + _said(_LEFT - 6, _y(share) + 4, f"{share:.0%}", "end")


def _said(x: float, y: float, words: str, anchor: str, colour: str = "#444444") -> str:
    text = _TEXT.replace("#444444", colour)
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {text}>{escape(words)}</text>'
