"""Statements name states by their enum: a bare number says nothing to who reads it, and nothing finds it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LONG = 6
_BARE = re.compile(
    r"\b(?:status|outcome|operation|state|lane)\b(?: AS int\))? *(?:=|<>|<=?|>=?|(?:NOT )?IN \() *\d"
    r"|\bTHEN \d+ ELSE (?:\d+|status|outcome|state) END"
)
_STATEMENT = re.compile(r"\b(?:SELECT|UPDATE|INSERT|DELETE|WHERE|AND|FROM)\b|^\w+ (?:=|<>|<|>) \d+$")


def texts(source: str) -> Iterator[str]:
    """Yield each text of a module that may be SQL, as it is written: an f-string with its names."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def bare(source: str) -> list[str]:
    """Return what stands as a bare state number in a module's statements."""
    return [found[0] for one in texts(source) if _STATEMENT.search(one) for found in _BARE.finditer(one)]


def test_no_statement_has_a_bare_state_number() -> None:
    found = {
        str(path.relative_to(ROOT)): wrong
        for folder in ("app", "tasks", "dispatcher", "bench", "deploy")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "peers" not in path.parts and (wrong := bare(path.read_text()))
    }
    assert found == {}


def test_a_bare_number_is_found() -> None:
    assert bare('text("SELECT 1 FROM event WHERE status = 0")') == ["status = 0"]
    assert bare('text("UPDATE event SET outcome = NULL WHERE CAST(status AS int) IN (2, 3)")') == [
        "status AS int) IN (2"
    ]
    assert bare('text("status < 2")') == ["status < 2"]
    assert bare('text(f"SELECT 1 FROM event WHERE status = {Status.PENDING:d}")') == []


def test_no_row_is_read_by_number() -> None:
    pattern = re.compile(r"\brow\[-?\d")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for folder in ("app", "tasks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for match in pattern.finditer(path.read_text())
    ]
    assert found == []


def test_each_long_statement_says_what_it_is_for() -> None:
    silent = []
    for path in sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]):
        lines = path.read_text().splitlines()
        for node in ast.parse("\n".join(lines)).body:
            if not isinstance(node, ast.Assign) or (node.end_lineno or 0) - node.lineno < _LONG:
                continue
            written = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            if not re.search(r"\b(?:SELECT|UPDATE|INSERT|DELETE)\b", written):
                continue
            after = lines[node.end_lineno or 0] if (node.end_lineno or 0) < len(lines) else ""
            if not lines[node.lineno - 2].startswith("#") and not after.startswith('"""'):
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert silent == []
