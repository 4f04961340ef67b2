"""Owns docs/api-reference.md: the OpenAPI document for reading. ``make reference`` writes it; a test compares it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask

from app.web.factory import add_routes
from app.web.openapi import document

PAGE = Path(__file__).parents[2] / "docs" / "api-reference.md"
_HEAD = """# API reference

Made by `make reference` from what the routes say about themselves; don't edit it. `GET /openapi.json` is the same for
programs, `GET /docs` the same to click through, and [the HTTP API](api.md) says it in words.
"""


def markdown() -> str:
    """Return the page."""
    flask_app = Flask("tiercel", static_folder=None)
    add_routes(flask_app)
    found = document.document(flask_app)
    parts = [_HEAD]
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            parts += ["", f"## `{method.upper()} {path}`", "", *_lines(operation)]
    parts += ["", "## Forms"]
    for name, schema in found["components"]["schemas"].items():
        parts += ["", f"### {name.lstrip('_')}", "", *_form(schema)]
    return "\n".join(parts) + "\n"


def _lines(operation: dict[str, Any]) -> Iterator[str]:
    scope = operation.get("x-scope")
    yield f"{operation['summary']} " + (f"Needs a key of scope `{scope}`." if scope else "Needs no key.")
    body = operation.get("requestBody")
    if operation["parameters"] or body:
        yield from ("", "| parameter | in | form |", "|---|---|---|")
        for one in operation["parameters"]:
            needed = ", needed" if one["required"] else ""
            yield f"| `{one['name']}` | {one['in']}{needed} | {_type(one['schema'])} |"
        if body:
            kind, content = next(iter(body["content"].items()))
            yield f"| the body | {kind} | {_type(content['schema'])} |"
    yield from ("", "| status | answer |", "|---|---|")
    for status, answer in operation["responses"].items():
        form = next((_type(one["schema"]) for one in answer.get("content", {}).values() if one.get("schema")), "")
        text = answer["description"].replace("|", "\\|")
        yield f"| {status} | {text}{': ' + form if form and form != 'Problem' else ''} |"


def _form(schema: dict[str, Any]) -> Iterator[str]:
    if schema.get("description"):
        yield schema["description"]
        yield ""
    yield from ("| field | form |", "|---|---|")
    for name, form in schema.get("properties", {}).items():
        needed = " (needed)" if name in schema.get("required", ()) else ""
        yield f"| `{name}`{needed} | {_type(form)} |"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2]).lstrip("_")
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    limits = [f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    return " ".join([schema.get("format") or schema.get("type") or "anything", *limits])


if __name__ == "__main__":
    PAGE.write_text(markdown())
    sys.stdout.write(f"{PAGE}\n")
