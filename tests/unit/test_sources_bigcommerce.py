import json

import pytest

from app.errors import FieldInvalid
from app.sources import KINDS, Request

KIND = KINDS["bigcommerce"]


@pytest.mark.parametrize(
    "scope", ["0", " ", "x", "\U0001f600", "store", "store/", "1/2/3", "store/updated", "shop/a/b"]
)
def test_a_scope_of_any_other_form_is_refused_by_name(scope: str) -> None:
    """The fuzz found the first four: a scope without a slash was a 500."""
    body = json.dumps({"scope": scope, "data": {"id": 1}}).encode()
    with pytest.raises(FieldInvalid, match="/scope"):
        KIND.normalise(Request({"webhook-id": "m"}, body, 0.0), [], KIND.config(), "shop")
