"""Owns what each route says about itself: its scope, parameters, body, answers. The OpenAPI document is made of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from app.models import Scope

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Described:
    """One route's face; the summary is the first line of its view's docstring."""

    tag: str
    scope: Scope | None
    query: type[BaseModel] | None
    body: Any
    """A pydantic model, or a JSON schema; None: it takes none."""
    answers: Mapping[int, Any]
    """What it answers with: a pydantic model, a JSON schema, or a text for an answer without a body."""
    problems: frozenset[int]
    """The statuses that it refuses with, besides those that every route of its kind has."""
    headers: frozenset[str] = field(default_factory=frozenset)
    """Request headers that it looks at."""
    public: bool = False
    """Whether it needs no key."""


_BY_VIEW: dict[Callable[..., Any], Described] = {}


def described(  # noqa: PLR0913  # a face's parts
    tag: str,
    answers: Mapping[int, Any],
    *,
    scope: Scope | None = None,
    query: type[BaseModel] | None = None,
    body: Any = None,
    problems: frozenset[int] | set[int] = frozenset(),
    headers: set[str] | frozenset[str] = frozenset(),
    public: bool = False,
) -> Callable[[View], View]:
    """Say what a route is like."""

    def keep(view: View) -> View:
        face = Described(tag, scope, query, body, answers, frozenset(problems), frozenset(headers), public)
        _BY_VIEW[view] = face
        return view

    return keep


def of(view: Callable[..., Any]) -> Described | None:
    """Return what a view says about itself."""
    return _BY_VIEW.get(view)
