"""Owns /openapi.json and /docs: the API to click through, and the pages of docs/ to read, without any other server.

The pages come from this release's own files; nothing of them says which release it is.
"""

import posixpath
import re
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, url_for
from markdown_it import MarkdownIt
from markdown_it.token import Token
from werkzeug.exceptions import NotFound

from app.web.openapi import document
from app.web.openapi.described import described

blueprint = Blueprint("pages", __name__)
_DOCS = Path(__file__).parents[3] / "docs"
_NAME = re.compile(r"(?:(?:decisions|runbooks)/)?[A-Za-z0-9-]{1,100}")
_PICTURE = re.compile(r"(?:pictures|images)/[a-z0-9-]{1,60}\.(svg|png)")
_PICTURES = {"svg": "image/svg+xml", "png": "image/png"}
_ASSETS = {
    "swagger-ui.css": ("css", "text/css"),
    "swagger-ui-bundle.js": ("js", "text/javascript"),
}
_START = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null});"""
_SWAGGER = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Tiercel: the HTTP API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css"></head>
<body><div id="api"></div><script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script></body></html>
"""
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Tiercel: {title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/docs/assets/page.css"></head><body>{body}</body></html>
"""
_CSS = """body{max-width:46rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}pre{overflow:auto;padding:.7rem;background:#8881}
img{max-width:100%}
table{border-collapse:collapse}td,th{border:1px solid #8886;padding:.2rem .5rem;text-align:left;vertical-align:top}
"""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger's page styles its elements inline; its scripts come from here only."""


@blueprint.get("/openapi.json")
@described("documentation", {200: {"type": "object"}}, public=True)
def show_openapi() -> Response:
    """Show the OpenAPI document of this API."""
    kept = current_app.extensions.get("openapi")
    if kept is None:
        kept = current_app.extensions["openapi"] = orjson.dumps(document.document(current_app))
    return Response(kept, content_type="application/json")


@blueprint.get("/docs")
@described("documentation", {200: {"html": "the API, to click through"}}, public=True)
def show_api() -> Response:
    """Show the API as a page to click through."""
    return _page(_SWAGGER)


@blueprint.get("/docs/<path:name>")
@described("documentation", {200: {"html": "a page, or a picture of one"}}, problems={404}, public=True)
def show_page(name: str) -> Response:
    """Show a page of the documentation, such as `problems`, to which the `type` of an error leads."""
    picture = _PICTURE.fullmatch(name)
    if picture and (_DOCS / name).is_file():
        return _with_policy(Response((_DOCS / name).read_bytes(), content_type=_PICTURES[picture[1]]))
    if not _NAME.fullmatch(name) or not (_DOCS / f"{name}.md").is_file():
        raise NotFound
    return _page(_PAGE.format(title=Path(name).name.replace("-", " "), body=_rendered(name)))


@blueprint.get("/docs/assets/<name>")
@described("documentation", {200: "a file of the pages"}, problems={404}, public=True)
def show_asset(name: str) -> Response:
    """Show a file that the pages are made of."""
    if name == "start.js":
        return Response(_START, content_type="text/javascript; charset=utf-8")
    if name == "page.css":
        return Response(_CSS, content_type="text/css; charset=utf-8")
    if name not in _ASSETS:
        raise NotFound
    folder, kind = _ASSETS[name]
    return Response(_asset(folder, name), content_type=f"{kind}; charset=utf-8")


def _asset(folder: str, name: str) -> bytes:
    # The package's files, not its plugin: that wants the library's own application, and a script inside the page.
    return (resources.files("flask_openapi_swagger") / "templates" / "swagger" / folder / name).read_bytes()


def _page(text: str) -> Response:
    return _with_policy(Response(text, content_type="text/html; charset=utf-8"))


def _with_policy(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    return response


@cache
def _rendered(name: str) -> str:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse((_DOCS / f"{name}.md").read_text())
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _anchor(following.content))
        for child in token.children or ():
            _lead(child, name)
    rendered: Any = markdown.renderer.render(tokens, markdown.options, {})
    return str(rendered)


def _anchor(title: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).replace(" ", "-")


def _lead(token: Token, page: str) -> None:
    """Make a link from a page to another of docs/, or to its picture, lead to where that is served."""
    attribute = {"link_open": "href", "image": "src"}.get(token.type, "")
    path, mark, anchor = str(token.attrs.get(attribute, "")).partition("#")
    found = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    if found.endswith(".md"):
        found = found.removesuffix(".md")
    elif not _PICTURE.fullmatch(found):
        return
    if _NAME.fullmatch(found) or _PICTURE.fullmatch(found):
        token.attrSet(attribute, url_for("pages.show_page", name=found) + mark + anchor)
