"""Words that only we would use in their sense stay out of what people read: the field has its own for each."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = {
    "door": "receiver, endpoint",
    "doors": "receivers, endpoints",
    "desk": "API",
}
CLASSES = {
    "Bare": "PipelinedConnection",
    "Behind": "ExtraWork",
    "Turns": "FairQueue",
    "Reserve": "LaneShare",
    "Outlet": "SpanExporterThread",
    "Noted": "PendingSpan",
}


def files(*patterns: str) -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    yield from (ROOT / name for name in listed.stdout.splitlines())


@pytest.mark.parametrize("word", WORDS)
def test_no_page_and_no_module_says_a_word_of_our_own(word: str) -> None:
    pattern = re.compile(rf"(?<![\w-]){word}(?![\w-])", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files("*.md", "app/*.py", "config/*.py", "tasks/*.py", "deploy")
        if path.suffix in {".md", ".py", ".json", ".yml", ".conf"}
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(re.sub(r"`[^`]*`", "", line))
    ]
    assert found == [], f"say {WORDS[word]}"


def test_no_class_has_a_name_that_the_field_has_another_for() -> None:
    defined = {
        node.name: str(path.relative_to(ROOT))
        for path in files("app/*.py", "config/*.py", "tasks/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    assert {name: defined[name] for name in CLASSES if name in defined} == {}


def test_no_two_classes_have_one_name() -> None:
    # The shapes of the OpenAPI document are named as what they show.
    defined: dict[str, list[str]] = {}
    for path in files("app/*.py", "config/*.py", "tasks/*.py"):
        name = str(path.relative_to(ROOT))
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and name != "app/web/openapi/schemas.py":
                defined.setdefault(node.name, []).append(name)
    assert {name: found for name, found in defined.items() if len(found) > 1} == {}
