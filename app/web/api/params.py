"""Owns how the API's routes read what they are asked: query parameters and bodies, nothing unknown, nothing twice."""

import base64
import binascii
import re
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import orjson
from flask import Response, request
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app.errors import BodyMalformed, FieldInvalid
from app.web.body import read_body

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


def _whole(value: object) -> object:
    # To JSON 5.0 is as whole as 5; true and "5" are no numbers.
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and value.is_integer())):
        raise ValueError("it is a whole number")
    return int(value)


Whole = BeforeValidator(_whole)
"""Marks a whole number in a body; to be named behind its bounds, as in ``Annotated[int, Field(ge=1), Whole]``."""


class Query(BaseModel):
    """The parameters that every list takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    # The bounds first: behind a validator pydantic gives JSON schema its own words for them, which mean nothing there.
    limit: Annotated[int, Field(ge=1, le=MOST), BeforeValidator(_number)] = 100
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


def if_match() -> str | None:
    """Return the header If-Match, if there is one (RFC 9110, 13.1.1).

    Raises:
        FieldInvalid: it is empty. Taken for none, it would change what somebody meant to protect.
    """
    given = request.headers.get("If-Match")
    if given is not None and not given.strip():
        raise FieldInvalid("If-Match is empty: it is an ETag, or *")
    return None if given is None else given.strip()


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


_ROW_ID = re.compile(r"[1-9][0-9]{0,9}")
_LARGEST_ROW_ID = 2**31 - 1


def row_id(text: str) -> int | None:
    """Return the number of a row in a path; None where no row can have it."""
    return int(text) if _ROW_ID.fullmatch(text) and int(text) <= _LARGEST_ROW_ID else None


def event_position(text: str) -> uuid.UUID:
    """Return the event's id in a cursor.

    Raises:
        FieldInvalid: it isn't one.
    """
    try:
        return uuid.UUID(text)
    except ValueError:
        raise FieldInvalid("cursor isn't one that this API gave") from None


def answer(body: object, status: int = 200, **headers: str) -> Response:
    """Return an answer of JSON."""
    response = Response(orjson.dumps(body), status, content_type="application/json")
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response
