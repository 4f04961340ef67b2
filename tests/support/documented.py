"""Bodies in the form that a vendor's catalogue documents, with ids of our own."""

import csv
from importlib.resources import files
from typing import Any

from app.events.incoming import JsonObject

Row = dict[str, str]


def rows(vendor: str) -> list[Row]:
    """Return a vendor's catalogue as it is written."""
    text = files("app.sources.kinds").joinpath("catalogues", f"{vendor}.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def put(body: Any, pointer: str, value: Any) -> None:
    """Set what a pointer names, through objects that are made where they are missing."""
    *steps, last = pointer.removeprefix("/").split("/")
    for step in steps:
        body = body.setdefault(step, {})
    body[last] = value


def paths(written: str) -> list[list[str]]:
    """Return the pointers of each alternative of a cell."""
    return [[one.strip() for one in path.split("+")] for path in written.split("|") if path.strip()]


def filled(pointers: list[str], number: int = 9) -> tuple[JsonObject, list[str]]:
    """Return an object that has an id of its own at each pointer, and these ids."""
    held: JsonObject = {}
    ids = [f"{number}{place}" for place in range(1, len(pointers) + 1)]
    for pointer, value in zip(pointers, ids, strict=True):
        put(held, pointer, int(value))
    return held, ids


def alternatives(row: Row) -> list[list[str]]:
    """Return each way in which a row says where the id is."""
    return paths(row["id"].partition(":")[2] or row["id"])
