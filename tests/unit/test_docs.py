"""Holds README.md, CONTRIBUTING.md and docs/ to the code: nothing public is missing, and all that they name exists."""

import configparser
import importlib
import pkgutil
import re
from enum import Enum, IntEnum
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Blueprint, Flask
from pydantic import SecretStr

import app
import app.web
from app.cli.main import tiercel
from app.errors import Rejected, TiercelError, Transient
from app.models import Lane, Outcome, Status
from app.observability.process_metrics import MEASURES
from app.reporting.prometheus import FAMILIES
from app.sources.kinds import KINDS
from app.sources.kinds.kind import Config
from app.web.problem import problem
from config.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = [page for page in PAGES if page.parent.name == "decisions" and page.name != "README.md"]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
PATH = re.compile(r"(?:app|bench|config|deploy|docs|migrations|tasks|tests)/[\w/.-]*\w")
NOT_OURS = {"internal-error", "not-found", "method-not-allowed"}
"""Problems that aren't a class in the error tree."""


def page(name: str) -> str:
    return (ROOT / name).read_text()


def everything() -> str:
    return "\n".join(path.read_text() for path in PAGES)


def spans(text: str) -> list[str]:
    return SPAN.findall(FENCE.sub("", text))


def section(text: str, title: str) -> str:
    """Return what stands below a heading of the second level."""
    return re.split(r"^## ", text.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> dict[str, list[str]]:
    """Return the rows of the tables in a text, by each name that stands as code in the first cell."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        found |= dict.fromkeys(SPAN.findall(cells[0]), cells) if cells else {}
    return found


def load_all(package: Any) -> list[Any]:
    names = [found.name for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    return [importlib.import_module(name) for name in names if name != "app.wsgi"]  # which would open everything


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    titles = [title.replace("`", "") for title in HEADING.findall(FENCE.sub("", text))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def as_documented(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Enum):
        value = value.value
    return f"`{value}`" if value != "" else "empty"


def test_each_setting_is_documented_with_its_default() -> None:
    documented = rows(section(page("docs/configuration.md"), "Settings"))
    settings = {(field.alias or name).upper(): field.default for name, field in Settings.model_fields.items()}
    assert set(documented) - {"setting"} >= set(settings)
    assert {name: documented[name][1] for name in settings} == {n: as_documented(d) for n, d in settings.items()}


def test_no_setting_is_documented_that_there_is_not() -> None:
    first_cells = re.findall(r"^\| `(\w+)` \|", section(page("docs/configuration.md"), "Settings"), re.MULTILINE)
    assert set(first_cells) == {(field.alias or name).upper() for name, field in Settings.model_fields.items()}


def test_the_api_page_has_every_route_and_no_other() -> None:
    # Not create_app, which opens resources: every blueprint there is, on an application of its own.
    flask_app = Flask("docs", static_folder=None)
    modules = load_all(app.web)
    for blueprint in {value for module in modules for value in vars(module).values() if isinstance(value, Blueprint)}:
        flask_app.register_blueprint(blueprint)
    routes = {
        f"{method} {re.sub(r'<[^>]*>', '{}', rule.rule)}"
        for rule in flask_app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    headings = re.findall(r"^### `([A-Z]+ /[^`]*)`$", page("docs/api.md"), re.MULTILINE)
    assert {re.sub(r"\{[^}]*\}", "{}", heading) for heading in headings} == routes


@cache
def commands() -> frozenset[str]:
    found: set[str] = set()

    def walk(command: click.Command, words: str) -> None:
        if not isinstance(command, click.Group):
            found.add(words)
            return
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            walk(child, f"{words} {name}")

    walk(tiercel, "tiercel")
    return frozenset(found)


def test_the_operations_page_has_every_command_and_no_other() -> None:
    assert {
        name for name in rows(section(page("docs/operations.md"), "Commands")) if name.startswith("tiercel ")
    } == commands()


def test_every_command_that_a_page_tells_to_run_exists() -> None:
    told = re.findall(r"(?:^|[`(]|\.venv/bin/|exec web )tiercel ([a-z][a-z -]*)", everything(), re.MULTILINE)
    groups = {command.rpartition(" ")[0] for command in commands()}
    for words in told:
        given = ["tiercel", *words.split()]
        named = " ".join(given[:2]), " ".join(given[:3])
        assert {*named} & (commands() | (groups - {"tiercel"})), f"tiercel {words}"


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_described_with_its_options(name: str) -> None:
    described = section(page("docs/adding-a-source.md"), f"`{name}`")
    assert described
    options = set(KINDS[name].config.model_fields) - set(Config.model_fields)
    assert set(rows(described)) & options == options


@pytest.mark.parametrize(("enum", "title"), [(Status, "Status"), (Outcome, "Outcome"), (Lane, "Lanes")])
def test_each_state_is_explained(enum: type[IntEnum], title: str) -> None:
    assert {member.name.lower() for member in enum} <= set(rows(section(page("docs/concepts.md"), title)))


def test_each_target_of_the_makefile_is_described() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", page("Makefile"), re.MULTILINE)
    assert phony
    described = rows(section(page("docs/operations.md"), "Start and stop"))
    assert {f"make {target}" for target in phony[1].split()} <= set(described)


def test_each_process_of_the_procfile_is_described() -> None:
    processes = re.findall(r"^([\w-]+):", page("Procfile"), re.MULTILINE)
    assert set(processes) <= set(rows(section(page("docs/operations.md"), "Processes")))


def test_each_metric_is_explained_with_its_labels_and_no_other() -> None:
    documented = rows(section(page("docs/metrics.md"), "From the database"))
    assert {name: cells[2:] for name, cells in documented.items()} == {
        family.name: [", ".join(family.labels) or "none", family.help] for family in FAMILIES
    }
    documented = rows(section(page("docs/metrics.md"), "From processes"))
    documented = {name: cells for name, cells in documented.items() if name.startswith("tiercel_") and len(cells) > 1}
    assert {name: cells[2:] for name, cells in documented.items()} == {
        measure.name: [", ".join((*measure.labels, "group")), measure.help] for measure in MEASURES
    }


def test_each_action_in_the_logs_is_explained_and_no_other() -> None:
    sources = [path.read_text() for folder in ("app", "config", "tasks") for path in (ROOT / folder).rglob("*.py")]
    actions = re.findall(r'action="(\w+)"', "\n".join(sources))
    assert set(rows(section(page("docs/operations.md"), "What to watch"))) == set(actions)


def test_the_problems_page_has_every_problem_and_no_other() -> None:
    load_all(app)

    def below(kind: type[TiercelError]) -> set[type[TiercelError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    # Permanent and what is below it leave as internal-error.
    kinds = {kind for root in (Rejected, Transient) for kind in below(root) if kind.__module__.startswith("app.")}
    types = {problem(400, kind.__name__, "").get_json()["type"] for kind in kinds}
    headings = re.findall(r"^## (.+)$", page("docs/problems.md"), re.MULTILINE)
    assert {f"/docs/problems#{heading}" for heading in headings} == types | {f"/docs/problems#{n}" for n in NOT_OURS}


def test_the_picture_of_the_layers_is_the_one_that_is_enforced() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    enforced = setup["importlinter:contract:layers"]["layers"].replace(" : ", ", ").strip()
    assert f"```\n{enforced}\n```" in page("docs/layout.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(FENCE.sub("", path.read_text())):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_function_and_test_that_a_page_names_exists(path: Path) -> None:
    tests = "\n".join(found.read_text() for found in (ROOT / "tests").rglob("test_*.py"))
    for span in spans(path.read_text()) if path.name != "catalogues.md" else ():  # there they are vendors' topics
        name, _, member = span.partition(":")
        if PATH.fullmatch(name):
            assert (ROOT / name).exists(), span
        if name.endswith(".py") and member:
            found: Any = importlib.import_module(name.removesuffix(".py").replace("/", "."))
            for part in member.split("."):
                found = getattr(found, part)
        if re.fullmatch(r"test_\w+", span):
            assert f"def {span}(" in tests, span


def test_every_decision_is_listed_and_has_its_three_parts() -> None:
    listed = page("docs/decisions/README.md")
    for path in DECISIONS:
        text = path.read_text()
        assert f"({path.name})" in listed
        assert [part for part in ("Context", "Decision", "Consequences") if f"**{part}.**" not in text] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_points_outside_the_repository(path: Path) -> None:
    assert not re.search(r"(?<![\w.-])/work\b|\.\./shared", path.read_text())
    assert "(../../.." not in path.read_text()
