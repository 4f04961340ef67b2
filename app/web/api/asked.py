"""Owns how the desk's routes read what they are asked: query parameters and bodies, nothing unknown, nothing twice."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import orjson
from flask import Response, request
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app.errors import BodyMalformed, FieldInvalid
from app.web.receive import read_body

MOST = 1_000
Given = TypeVar("Given", bound=BaseModel)
Text = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


def _number(value: object) -> object:
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= len(str(MOST))):
        raise ValueError(f"it is a number from 1 to {MOST}")
    return value


def _time(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("it is a text")  # noqa: TRY004  # pydantic wants a ValueError
    try:
        # A "+" that wasn't percent-encoded arrives as a space.
        at = datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("it isn't an RFC 3339 time") from None


Moment = Annotated[datetime, BeforeValidator(_time)]
"""A time in a query: RFC 3339; naive is UTC."""


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("it is beyond the calendar") from None


Instant = Annotated[AwareDatetime, AfterValidator(_utc)]
"""A time in a body: RFC 3339 with its offset. In UTC, since PostgreSQL takes no offset of 16 hours or more."""


class Query(BaseModel):
    """The parameters that every list takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit: Annotated[int, BeforeValidator(_number), Field(ge=1, le=MOST)] = 100
    cursor: Text | None = None


class Body(BaseModel):
    """A body: nothing unknown in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def query(model: type[Given]) -> Given:
    """Return the query parameters of this request.

    Raises:
        FieldInvalid: one is unknown, given twice, or can't be read.
    """
    twice = sorted(name for name in request.args if len(request.args.getlist(name)) > 1)
    if twice:
        raise FieldInvalid(f"given twice: {', '.join(twice)}")
    return checked(model, request.args.to_dict())


def no_query() -> None:
    """Refuse query parameters.

    Raises:
        FieldInvalid: there is one.
    """
    if request.args:
        raise FieldInvalid(f"no such parameter: {', '.join(sorted(request.args))}")


def body(model: type[Given]) -> Given:
    """Return the body of this request.

    Raises:
        BodyMalformed: it isn't JSON.
        FieldInvalid: something in it can't be.
    """
    try:
        given = orjson.loads(read_body() or b"null")
    except orjson.JSONDecodeError as error:
        raise BodyMalformed from error
    return checked(model, given)


def checked(model: type[Given], given: Any) -> Given:
    """Return what was given as the model has it; the error names the fields and never their values.

    Raises:
        FieldInvalid: something in it can't be.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}" for e in error.errors())
        raise FieldInvalid(wrong) from None


def cursor(*position: object) -> str:
    """Return the opaque text for a position in a list."""
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def position(given: str | None, *types: type) -> list[Any] | None:
    """Return the position that a cursor stands for, whose parts have these types.

    Raises:
        FieldInvalid: this API never gave such a cursor.
    """
    if given is None:
        return None
    try:
        parts = orjson.loads(base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        parts = None
    fits = isinstance(parts, list) and len(parts) == len(types)
    if not fits or not all(type(part) is kind and _fits(part) for part, kind in zip(parts, types, strict=True)):
        raise FieldInvalid("cursor isn't one that this API gave")
    return list(parts)


def _fits(part: object) -> bool:
    return "\x00" not in part if isinstance(part, str) else not isinstance(part, int) or abs(part) < 2**31


def answer(body: object, status: int = 200, **headers: str) -> Response:
    """Return an answer of JSON."""
    response = Response(orjson.dumps(body), status, content_type="application/json")
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response
