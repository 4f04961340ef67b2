"""The recipe in docs/adding-a-source.md, run as it stands there: a whole kind, its fixture, and how small it is."""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from app.errors import SignatureInvalid, SignatureMissing
from app.events.canonical_json import dump
from app.sources.kinds import Kind, Request
from app.sources.kinds.kind import Outgoing
from app.sources.kinds.read import read
from tests.support.deliveries import normal_form

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-source.md").read_text().partition("## A new kind")[2]
MOST_LINES = 80


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def kind() -> Kind:
    module = ModuleType("acme")
    exec(compile(block("python"), "acme.py", "exec"), vars(module))  # noqa: S102  # our own page
    made: Kind = vars(module)["KIND"]
    return made


def test_the_recipes_kind_makes_of_the_recipes_fixture_what_it_says(kind: Kind) -> None:
    delivery = json.loads(block("json"))
    request = Request(delivery["headers"], delivery["body"].encode(), delivery["received_at"])
    kind.verify(request, delivery["secrets"], kind.config())
    got = normal_form(read(kind, request, delivery["secrets"], kind.config(), "shop").events[0])
    assert dump({name: got[name] for name in delivery["expect"]}) == dump(delivery["expect"])


def test_the_recipes_kind_refuses_what_is_wrong_and_signs_what_is_right(kind: Kind) -> None:
    secret = "a secret of Acme's, long enough"
    headers = kind.sign(Outgoing("1", "price.updated", b"{}", 0.0), secret, kind.config())
    kind.verify(Request(headers, b"{}", 0.0), [secret], kind.config())
    with pytest.raises(SignatureInvalid):
        kind.verify(Request(headers, b"{ }", 0.0), [secret], kind.config())
    with pytest.raises(SignatureMissing):
        kind.verify(Request({}, b"{}", 0.0), [secret], kind.config())


def test_a_plain_kind_is_one_small_file() -> None:
    assert block("python").count("\n") <= MOST_LINES
