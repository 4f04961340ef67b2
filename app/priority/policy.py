"""Owns the form of a priority policy: what an operator may write, checked before it is kept (docs/priorities.md)."""

import re
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from app.errors import Rejected
from app.events.incoming import JsonValue

MAX_RULES = 500
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MAX_DEPTH = 12


class PolicyInvalid(Rejected):
    """The priority policy can't be used."""


class LaneName(StrEnum):
    """A lane, as a policy names it."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Op(StrEnum):
    """How a condition looks at what its pointer finds; null counts as absent."""

    EXISTS = "exists"
    ABSENT = "absent"
    EQ = "eq"
    NE = "ne"
    IN = "in"
    NOT_IN = "not_in"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    CONTAINS = "contains"
    """A list holds the value, or a text holds the text."""
    STARTS_WITH = "starts_with"
    GLOB = "glob"


WITHOUT_VALUE = frozenset({Op.EXISTS, Op.ABSENT})
OF_LISTS = frozenset({Op.IN, Op.NOT_IN})
OF_NUMBERS = frozenset({Op.LT, Op.LE, Op.GT, Op.GE})
OF_TEXTS = frozenset({Op.STARTS_WITH, Op.GLOB})


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Name = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Pointer = Annotated[str, StringConstraints(pattern=r"^(/([^/~]|~[01])*)+$", max_length=200)]
"""A JSON pointer (RFC 6901) into the sender's object; where that has nothing, into the whole body."""
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_listed), Field(min_length=1, max_length=200)]
"""Texts with ``*`` and ``?``; one of them must fit. Case doesn't count."""
Pointers = Annotated[tuple[Pointer, ...], BeforeValidator(_listed), Field(min_length=1, max_length=20)]
"""The first that finds something counts."""
Points = Annotated[float, Field(ge=0, le=100)]
Weight = Annotated[float, Field(gt=0, le=1000)]
Priority = Annotated[int, Field(ge=0, le=9)]
Scalar = str | int | float | bool


class Part(BaseModel):
    """Any part of a policy: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Condition(Part):
    """One thing that must hold of the body."""

    pointer: Pointers
    op: Op
    value: Scalar | tuple[Scalar, ...] | None = None

    @model_validator(mode="after")
    def _value_fits(self) -> Self:
        wrong = None
        if self.op in WITHOUT_VALUE:
            wrong = "takes no value" if self.value is not None else None
        elif self.op in OF_LISTS:
            wrong = None if isinstance(self.value, tuple) and self.value else "takes a list of values"
        elif self.op in OF_NUMBERS:
            number = isinstance(self.value, (int, float)) and not isinstance(self.value, bool)
            wrong = None if number else "takes a number"
        elif self.op in OF_TEXTS:
            wrong = None if isinstance(self.value, str) and self.value else "takes a text"
        elif self.value is None or isinstance(self.value, tuple):
            wrong = "takes one value"
        if wrong:
            raise ValueError(f"the op {self.op.value} {wrong}")
        return self


class When(Part):
    """Which events are meant: everything that is given must hold, and nothing given means every event."""

    source: Patterns | None = None
    kind: Patterns | None = None
    """The source's kind, as in ``shopify``."""
    type: Patterns | None = None
    entity_type: Patterns | None = None
    verb: Patterns | None = None
    """The last part of the event's type."""
    payload: Annotated[tuple[Condition, ...], Field(max_length=20)] = ()


class PolicyRule(Part):
    """Where the events that it means go; what it leaves open, the matrix decides, or else ``otherwise``."""

    name: Name
    when: When
    lane: LaneName | None = None
    priority: Priority | None = None


class Otherwise(Part):
    """Where everything goes that neither rule nor matrix decides."""

    name: Name
    lane: LaneName
    priority: Priority


Breakpoints = Annotated[tuple[tuple[float, Points], ...], Field(min_length=1, max_length=50)]
"""``[value, points]``, by ascending value; straight lines between them, level beyond the first and the last."""


def _ascending(breakpoints: Breakpoints) -> None:
    values = [value for value, _ in breakpoints]
    if any(later <= earlier for earlier, later in pairwise(values)):
        raise ValueError("the breakpoints' values must ascend")


class Urgency(Part):
    """Time to the campaign's start or end, whichever is nearer, ahead or just past."""

    weight: Weight
    start: Pointers
    end: Pointers
    breakpoints: Breakpoints
    """``[seconds, points]``; the points may not rise with the seconds."""
    running: Points = 0
    """What an event between start and end has at least."""

    @model_validator(mode="after")
    def _nearer_is_never_less_urgent(self) -> Self:
        _ascending(self.breakpoints)
        points = [made for _, made in self.breakpoints]
        if any(later > earlier for earlier, later in pairwise(points)):
            raise ValueError("the breakpoints' points may not rise with the seconds")
        return self


class PolicyReading(Part):
    """One way to read a factor off the body: a number by breakpoints, or a text by name."""

    pointer: Pointers
    breakpoints: Breakpoints | None = None
    values: Annotated[dict[Name, Points], Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.breakpoints is None) == (self.values is None):
            raise ValueError("a reading has either breakpoints or values")
        if self.breakpoints is not None:
            _ascending(self.breakpoints)
        return self


class MeasuredValue(Part):
    """A factor that is read off the body; of several readings that find something, the greatest counts."""

    weight: Weight
    readings: Annotated[tuple[PolicyReading, ...], Field(min_length=1, max_length=10)]


class TypePoints(Part):
    """What an event's type is worth."""

    type: Patterns
    points: Points


class EventKind(Part):
    """What kind of event it is; the first line that fits counts."""

    weight: Weight
    types: Annotated[tuple[TypePoints, ...], Field(max_length=200)] = ()
    otherwise: Points | None = None


class Threshold(Part):
    """From this score on, this lane and in-queue priority."""

    score: Annotated[int, Field(ge=0, le=100)]
    lane: LaneName
    priority: Priority


class Factors(Part):
    """What a score is made of; a factor that is left out, or that an event says nothing about, weighs nothing."""

    urgency: Urgency | None = None
    revenue: MeasuredValue | None = None
    """Expected revenue or ROI."""
    audience: MeasuredValue | None = None
    brand: MeasuredValue | None = None
    event: EventKind | None = None


class Matrix(Part):
    """The campaign prioritisation matrix."""

    when: When
    factors: Factors
    thresholds: Annotated[tuple[Threshold, ...], Field(min_length=1, max_length=101)]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if all(factor is None for _, factor in self.factors):
            raise ValueError("a matrix needs a factor")
        scores = [threshold.score for threshold in self.thresholds]
        if any(later >= earlier for earlier, later in pairwise(scores)):
            raise ValueError("the thresholds' scores must descend")
        if scores[-1] != 0:
            raise ValueError("the last threshold's score must be 0")
        return self


class Policy(Part):
    """A whole policy. The first rule that matches decides; the matrix scores; ``otherwise`` takes the rest."""

    rules: Annotated[tuple[PolicyRule, ...], Field(max_length=MAX_RULES)] = ()
    matrix: Matrix | None = None
    otherwise: Otherwise

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules have the name {twice[0]!r}")
        return self

    def document(self) -> dict[str, Any]:
        """Return the policy as JSON, in one form however it was written."""
        return self.model_dump(mode="json", exclude_defaults=True)


def read_policy(document: JsonValue) -> Policy:
    """Return the policy in a JSON document.

    Raises:
        PolicyInvalid: names each field that can't be, and why.
    """
    try:
        return Policy.model_validate(_plain(document, ""))
    except ValidationError as error:
        raise PolicyInvalid("; ".join(f"{_path(e['loc'])}: {_said(e['msg'])}" for e in error.errors())) from None


def _path(location: Sequence[int | str]) -> str:
    return "/" + "/".join(map(str, location)) if location else "the policy"


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")


def _plain(value: JsonValue, path: str) -> JsonValue:
    """Return the document with floats for exact decimals: a policy weighs, it doesn't count money."""
    if path.count("/") > _MAX_DEPTH:
        raise PolicyInvalid(f"{path}: nested too deeply")
    if isinstance(value, dict):
        return {_plain(key, path): _plain(item, f"{path}/{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{path}/{number}") for number, item in enumerate(value)]
    if isinstance(value, str) and _CONTROL.search(value):
        raise PolicyInvalid(f"{path or 'the policy'}: holds control characters")
    return float(value) if isinstance(value, Decimal) else value
