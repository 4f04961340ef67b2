"""Owns the campaign prioritisation matrix: a weighted score from 0 to 100, and what each factor gave to it."""

from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from app.events.incoming import JsonValue
from app.priority.conditions import matcher, number, reader
from app.priority.decision import ScorePart
from app.priority.policy import EventKind, Factors, Matrix, MeasuredValue, PolicyReading, Threshold, Urgency

Factor = Callable[[str, JsonValue, JsonValue, "float | None"], "float | None"]
"""(event type in lower case, the sender's object, the whole body, Unix time) -> points, or None."""
_MILLISECONDS_FROM = 1e11
"""A Unix time beyond is in milliseconds: in seconds it would be the year 5138."""


def curve(breakpoints: tuple[tuple[float, float], ...]) -> Callable[[float], float]:
    """Return the points for a value: straight lines between the breakpoints, level beyond them."""
    values = [value for value, _ in breakpoints]
    points = [made for _, made in breakpoints]

    def at(value: float) -> float:
        place = bisect_right(values, value)
        if place == 0:
            return points[0]
        if place == len(values):
            return points[-1]
        low, high = values[place - 1], values[place]
        below, above = points[place - 1], points[place]
        made = below + (above - below) * ((value - low) / (high - low))
        return min(max(made, min(below, above)), max(below, above))

    return at


def instant(value: JsonValue) -> float | None:
    """Return a time in Unix seconds: of RFC 3339 text (naive is UTC), or Unix seconds or milliseconds; else None.

    What lies before 1970 is no campaign's time: Go's zero time (year 1) is how some services write "not yet".
    """
    found = number(value)
    if found is not None and found >= _MILLISECONDS_FROM:
        found /= 1000
    if found is None and isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
            found = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    return found if found is not None and found > 0 else None


def _urgency(given: Urgency) -> Factor:
    start, end, points = reader(given.start), reader(given.end), curve(given.breakpoints)

    def factor(_type: str, data: JsonValue, body: JsonValue, at: float | None) -> float | None:
        if at is None:
            return None
        begins, ends = instant(start(data, body)), instant(end(data, body))
        if begins is None and ends is None:
            return None
        nearest = min(abs(bound - at) for bound in (begins, ends) if bound is not None)
        running = begins is not None and begins <= at and (ends is None or at < ends)
        return max(points(nearest), given.running) if running else points(nearest)

    return factor


def _reading(given: PolicyReading) -> Callable[[JsonValue, JsonValue], float | None]:
    read = reader(given.pointer)
    if given.values is not None:
        named = {name.lower(): points for name, points in given.values.items()}

        def look_up(data: JsonValue, body: JsonValue) -> float | None:
            found = read(data, body)
            return named.get(found.lower()) if isinstance(found, str) else None

        return look_up
    points = curve(given.breakpoints or ((0.0, 0.0),))

    def measure(data: JsonValue, body: JsonValue) -> float | None:
        found = number(read(data, body))
        return None if found is None else points(found)

    return measure


def _measured(given: MeasuredValue) -> Factor:
    readings = [_reading(reading) for reading in given.readings]

    def factor(_type: str, data: JsonValue, body: JsonValue, _at: float | None) -> float | None:
        most = None
        for reading in readings:
            points = reading(data, body)
            if points is not None and (most is None or points > most):
                most = points
        return most

    return factor


def _event(given: EventKind) -> Factor:
    lines = [(matcher(line.type), line.points) for line in given.types]

    @lru_cache(maxsize=1024)
    def worth(event_type: str) -> float | None:
        return next((points for fits, points in lines if fits(event_type)), given.otherwise)

    def factor(event_type: str, _data: JsonValue, _body: JsonValue, _at: float | None) -> float | None:
        return worth(event_type)

    return factor


def _factors(given: Factors) -> list[tuple[str, float, Factor]]:
    made: list[tuple[str, float, Factor]] = []
    if given.urgency is not None:
        made.append(("urgency", given.urgency.weight, _urgency(given.urgency)))
    made += [
        (name, measured.weight, _measured(measured))
        for name, measured in (("revenue", given.revenue), ("audience", given.audience), ("brand", given.brand))
        if measured is not None
    ]
    if given.event is not None:
        made.append(("event", given.event.weight, _event(given.event)))
    return made


class Scoring:
    """A matrix, compiled."""

    def __init__(self, matrix: Matrix) -> None:
        self._factors = _factors(matrix.factors)
        by_score = {threshold.score: threshold for threshold in matrix.thresholds}
        self._thresholds: list[Threshold] = []
        for score in range(101):
            self._thresholds.append(by_score.get(score) or self._thresholds[-1])

    def parts(self, event_type: str, data: JsonValue, body: JsonValue, at: float | None) -> tuple[ScorePart, ...]:
        """Return each factor's part; ``event_type`` in lower case, ``at`` in Unix seconds, None without a clock."""
        return tuple(
            [ScorePart(name, weight, factor(event_type, data, body, at)) for name, weight, factor in self._factors]
        )

    def threshold(self, score: int) -> Threshold:
        """Return what a score means."""
        return self._thresholds[score]


def score(parts: tuple[ScorePart, ...]) -> int | None:
    """Return the weighted mean of the factors that are there, 0 to 100, or None where none is."""
    total = weights = 0.0
    for _, weight, points in parts:
        if points is not None:
            total += weight * points
            weights += weight
    return min(max(round(total / weights), 0), 100) if weights else None


def told(scored: int, parts: tuple[ScorePart, ...]) -> str:
    """Return a score in words, with every factor's part."""
    weights = sum([weight for _, weight, points in parts if points is not None])
    said = [f"{name} {points:.0f} x {weight / weights:.0%}" for name, weight, points in parts if points is not None]
    absent = [name for name, _, points in parts if points is None]
    return f"score {scored} = {' + '.join(said)}{'; not known: ' + ', '.join(absent) if absent else ''}"
