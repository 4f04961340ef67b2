"""Reading a verified body: JSON, or a form, whatever the content type says."""

import re
from urllib.parse import parse_qsl

from app.errors import BodyMalformed
from app.events.canonical_json import MAX_DEPTH, parse_leniently
from app.events.incoming import JsonObject, JsonValue
from app.sources.kinds import ndjson
from app.sources.kinds.kind import Request

FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 1_000
_REPLACED = "lone surrogates in the body were replaced with U+FFFD"
_STEP = re.compile(r"\[([^\[\]]*)\]")
_LOOKS_LIKE_FORM = re.compile(rb"[A-Za-z_][\w.\-\[\]%]{0,200}=[^\s{}\"<>]*")


def read(request: Request) -> tuple[JsonValue, tuple[str, ...]]:
    """Return a body as JSON, and what was replaced in it.

    A form with one field that holds a JSON object is that object (GitHub's ``payload=``); any other form is an object
    of its fields, where ``data[email]=…`` is ``{"data": {"email": …}}`` and a field that comes again is a list.

    Raises:
        BodyMalformed: it is neither.
    """
    try:
        value, replaced = parse_leniently(request.body)
    except BodyMalformed:
        # Clients that say nothing about a body send another content type; a form can still be told from JSON.
        if ndjson.mimetype(request) != FORM and not _LOOKS_LIKE_FORM.fullmatch(request.body):
            raise
        value, replaced = _form(request.body)
    return value, (_REPLACED,) if replaced else ()


def read_object(request: Request) -> tuple[JsonObject, tuple[str, ...]]:
    """Return a body that is an object, and what was replaced in it.

    Raises:
        BodyMalformed: it isn't one.
    """
    value, notes = read(request)
    if not isinstance(value, dict):
        raise BodyMalformed("the body must be a JSON object")
    return value, notes


def _form(raw: bytes) -> tuple[JsonObject, bool]:
    try:
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:
        raise BodyMalformed("the body is neither JSON nor a form") from error
    if len(pairs) == 1:
        try:
            value, replaced = parse_leniently(pairs[0][1].encode())
        except BodyMalformed:
            pass
        else:
            if isinstance(value, dict):
                return value, replaced
    form: JsonObject = {}
    for name, value in pairs:
        _put(form, name, value)
    return form, False


def _put(form: JsonObject, name: str, value: str) -> None:
    head, bracket, rest = name.partition("[")
    steps = [head, *_STEP.findall(bracket + rest)]
    if not head or "".join([head, *(f"[{step}]" for step in steps[1:])]) != name or len(steps) > MAX_DEPTH:
        steps = [name]  # brackets that don't nest are part of the name
    while len(steps) > 1 and not steps[-1]:
        steps.pop()  # ``ids[]`` is a list, as is ``ids`` twice
    place = form
    for step in steps[:-1]:
        inner = place.setdefault(step, {})
        if not isinstance(inner, dict):
            place, steps = form, [name]
            break
        place = inner
    last = steps[-1]
    if last not in place:
        place[last] = value
    elif isinstance(place[last], list):
        place[last].append(value)
    else:
        place[last] = [place[last], value]
