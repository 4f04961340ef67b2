"""Owns the OpenAPI 3.1 document: made of the routes there are and of what each says about itself."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask
from pydantic import BaseModel
from werkzeug.routing import Rule

from app.models import Scope
from app.web.openapi import described
from app.web.openapi import schemas as shapes
from app.web.openapi.described import Described

_CONVERTER = re.compile(r"<(?:[^:>]+:)?([^>]+)>")
_REF = "#/components/schemas/{model}"
_KEYED = {401, 403, 429, 503}
"""What every route answers that needs a key: none, too small a scope, too many wrong ones, no database."""
_CHANGES = {400, 413, 415}
_POSTS = {409, 422}
"""With an Idempotency-Key: the first request is under way, or was another."""
_TITLES = {
    400: "it can't be read, or something in it can't be",
    401: "no valid key, or no valid signature",
    403: "the key may not do this",
    404: "there is no such thing",
    405: "not with this method",
    409: "not as things are now",
    410: "the source is switched off",
    412: "it was changed since you saw it",
    413: "the body is too large",
    415: "the body isn't said to be JSON",
    422: "the Idempotency-Key came with another request before",
    428: "say which version yours is made from",
    429: "too many; see Retry-After",
    503: "try again after Retry-After",
}
_HEADERS = {
    "If-Match": "The ETag of what you have seen: refused with 412 if it was changed since.",
    "Idempotency-Key": "Makes the same request harmless when it is sent again: 1 to 255 visible ASCII characters.",
}


def document(flask_app: Flask) -> dict[str, Any]:
    """Return the document for all routes of an application that say what they are like."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for rule, method, view, face in _faces(flask_app):
        path = _CONVERTER.sub(r"{\1}", rule.rule)
        paths.setdefault(path, {})[method.lower()] = _operation(rule, method, view, face, schemas)
    _form(shapes.Problem, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tiercel",
            "version": "1",
            "summary": "Campaign events in, every one applied exactly as its sender last meant it.",
            "description": "Errors are problem+json; their `type` leads to /docs/problems. Times are RFC 3339 in UTC.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key of `tiercel keys create`."}
            },
        },
    }


def undescribed(flask_app: Flask) -> list[str]:
    """Return the routes that don't say what they are like."""
    told = {(rule.rule, method) for rule, method, _, _ in _faces(flask_app)}
    return sorted(f"{method} {rule.rule}" for rule, method in _routes(flask_app) if (rule.rule, method) not in told)


def _routes(flask_app: Flask) -> Iterator[tuple[Rule, str]]:
    for rule in flask_app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule, method


def _faces(flask_app: Flask) -> Iterator[tuple[Rule, str, Any, Described]]:
    for rule, method in _routes(flask_app):
        view = flask_app.view_functions[rule.endpoint]
        face = described.of(view)
        if face is not None:
            yield rule, method, view, face


def _operation(rule: Rule, method: str, view: Any, face: Described, schemas: dict[str, Any]) -> dict[str, Any]:
    scope = face.scope or (Scope.READ if method == "GET" else Scope.WRITE)
    problems = set(face.problems)
    headers = set(face.headers)
    if not face.public:
        problems |= _KEYED
        problems |= set() if method == "GET" else _CHANGES
        if method == "POST" and scope is not Scope.READ:
            problems |= _POSTS
            headers.add("Idempotency-Key")
    own_key = "Idempotency-Key" in face.headers
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _CONVERTER.findall(rule.rule)
    ]
    parameters += _query(face.query, schemas)
    parameters += [
        {
            "name": name,
            "in": "header",
            "required": own_key and name == "Idempotency-Key",
            "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
            "description": _HEADERS[name],
        }
        for name in sorted(headers)
        if name in _HEADERS
    ]
    operation: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": (view.__doc__ or "").partition("\n")[0],
        "tags": [face.tag],
        "parameters": parameters,
        "responses": {str(status): answer for status, answer in _answers(face, problems, schemas)},
    }
    if face.body is not None:
        content = {"application/json": {"schema": _form(face.body, schemas)}}
        operation["requestBody"] = {"required": True, "content": content}
    if not face.public:
        operation["security"] = [{"key": []}]
        operation["description"] = f"Needs a key of scope `{scope.name.lower()}`."
        operation["x-scope"] = scope.name.lower()
    return operation


def _query(model: type[BaseModel] | None, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=_REF)
    schemas.update(schema.pop("$defs", {}))
    found = []
    for name, form in schema["properties"].items():
        entry = {"name": name, "in": "query", "required": False, "schema": not_null(form)}
        found.append(entry | ({"description": form["description"]} if "description" in form else {}))
    return found


def _answers(face: Described, problems: set[int], schemas: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    for status, form in sorted(face.answers.items()):
        if isinstance(form, str):
            yield status, {"description": form}
        elif isinstance(form, Mapping) and "html" in form:
            yield status, {"description": form["html"], "content": {"text/html": {}}}
        else:
            first = form[0] if isinstance(form, tuple) else form
            doc = "OK" if isinstance(first, Mapping) else (first.__doc__ or "OK").partition("\n")[0]
            yield status, {"description": doc, "content": {"application/json": {"schema": _form(form, schemas)}}}
    error = {"application/problem+json": {"schema": _form(shapes.Problem, schemas)}}
    for status in sorted(problems):
        yield status, {"description": _TITLES[status], "content": error}


def _form(form: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    if isinstance(form, Mapping):
        return dict(form)
    if isinstance(form, tuple):
        return {"anyOf": [_form(one, schemas) for one in form]}
    if form.__name__ not in schemas:
        schema = form.model_json_schema(ref_template=_REF)
        schemas.update(schema.pop("$defs", {}))
        schemas[form.__name__] = schema
    return {"$ref": _REF.format(model=form.__name__)}


def not_null(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field's JSON schema without null: where a thing that isn't there is how null is said."""
    plain = {key: value for key, value in form.items() if key not in {"title", "default", "description"}}
    options = [option for option in plain.get("anyOf", []) if option != {"type": "null"}]
    return options[0] if len(options) == 1 else plain
