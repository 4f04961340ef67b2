from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import FieldInvalid, SecretMissing, SignatureInvalid, SignatureMissing, TimestampOutsideTolerance
from app.events.incoming import Operation
from app.sources.kinds import fields
from app.sources.kinds.kind import Request


def _request(**headers: str) -> Request:
    return Request(headers, b"", 0.0)


@pytest.mark.parametrize("secrets", [[], [""], ["", " \t"]])
def test_no_secret_is_a_refusal(secrets: list[str]) -> None:
    with pytest.raises(SecretMissing):
        fields.usable(secrets)


def test_a_blank_secret_beside_a_good_one_is_left_out() -> None:
    assert fields.usable(["", "good"]) == ["good"]


@pytest.mark.parametrize("signed", [b"1000", b"700", b"1300"])
def test_a_timestamp_may_be_five_minutes_off_both_ways(signed: bytes) -> None:
    fields.require_recent(signed, 1000.0)


@pytest.mark.parametrize("signed", [b"699", b"1301", b"0", b"999999999999999"])
def test_a_timestamp_further_off_is_refused_both_ways(signed: bytes) -> None:
    with pytest.raises(TimestampOutsideTolerance):
        fields.require_recent(signed, 1000.0)


@pytest.mark.parametrize(
    "signed",
    [
        b"",
        b"1000.9",
        b" 1000 ",
        b"1000\n",
        b"1_000",
        b"+1000",
        b"-1000",
        b"01000",
        b"1e3",
        b"9" * 5000,
        "\u0661\u0660\u0660\u0660".encode(),
    ],
)
def test_a_timestamp_that_is_no_plain_integer_is_refused(signed: bytes) -> None:
    with pytest.raises(SignatureInvalid, match="integer"):
        fields.require_recent(signed, 1000.0)


def test_any_pair_matches_and_none_is_a_refusal() -> None:
    fields.require_match([b"x", b"b"], [b"a", b"b"])
    fields.require_match([b"a", b"x"], [b"a", b"b"])
    for stated, expected in (([b"x"], [b"a"]), ([], [b"a"]), ([b"a"], [])):
        with pytest.raises(SignatureInvalid):
            fields.require_match(stated, expected)


@pytest.mark.parametrize("text", ["plain", "é", "日本語", "\ud800"])
def test_a_header_made_of_a_text_gives_its_utf8_back(text: str) -> None:
    assert fields.to_bytes(fields.to_header(text)) == text.encode("utf-8", "surrogatepass")


def test_a_header_that_wsgi_would_never_hand_over_is_still_bytes() -> None:
    assert fields.to_bytes("日\ud800") == "日\ud800".encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("headers", [{}, {"x": ""}])
def test_an_absent_or_empty_header_is_a_missing_signature(headers: dict[str, str]) -> None:
    with pytest.raises(SignatureMissing, match="x"):
        fields.header(_request(**headers), "x")


@pytest.mark.parametrize("value", ["", "\xff", "a\tb", "a" * 513])
def test_a_header_that_names_nothing_usable_is_a_field_error(value: str) -> None:
    with pytest.raises(FieldInvalid, match="webhook-id"):
        fields.header_text(Request({"webhook-id": value}, b"", 0.0), "webhook-id")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "missing"),
        ("", "missing"),
        (5, "text"),
        (["a"], "text"),
        ("a" * 513, "longer"),
        ("a\x00b", "control"),
        ("a\nb", "control"),
        ("a\x7f", "control"),
        ("a\x85", "control"),
        ("a\udc00", "control"),
    ],
)
def test_a_text_that_names_nothing_says_why(value: Any, message: str) -> None:
    with pytest.raises(FieldInvalid, match=f"^/f .*{message}"):
        fields.text(value, "/f")


@pytest.mark.parametrize("value", ["a", "a" * 500, "gid://shop/Product/1", "日本 語", "0"])
def test_any_printable_text_can_be_an_id(value: str) -> None:
    assert fields.identifier(value, "/id") == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (-5, "-5"),
        (9007199254740993, "9007199254740993"),
        (Decimal(12345678901234567890), "12345678901234567890"),
    ],
)
def test_an_integer_id_is_kept_to_the_digit(value: Any, expected: str) -> None:
    assert fields.identifier(value, "/id") == expected


@pytest.mark.parametrize("value", [None, "", True, False, Decimal("1.0"), Decimal("1E+20"), 1.5, [], {}, ["a"]])
def test_anything_else_is_no_id(value: Any) -> None:
    with pytest.raises(FieldInvalid, match="/id"):
        fields.identifier(value, "/id")


@pytest.mark.parametrize("value", ["a", "price.updated", "A-b_c.9", "a" * 100])
def test_a_label_is_letters_digits_dots_dashes_underscores(value: str) -> None:
    assert fields.label(value, "/type") == value


@pytest.mark.parametrize("value", [None, "", ".a", "-a", "a b", "a/b", "é", "a\n", "a" * 101, 1])
def test_anything_else_is_no_label(value: Any) -> None:
    with pytest.raises(FieldInvalid, match="/type"):
        fields.label(value, "/type")


@pytest.mark.parametrize(
    ("verb", "operation"),
    [
        ("price.created", Operation.CREATE),
        ("create", Operation.CREATE),
        ("price.updated", Operation.UPDATE),
        ("order.paid", Operation.UPDATE),
        ("price.", Operation.UPDATE),
        ("deleted.price", Operation.UPDATE),
        ("price.DELETED", Operation.DELETE),
        ("a.b.delete", Operation.DELETE),
        ("removed", Operation.DELETE),
        ("remove", Operation.DELETE),
    ],
)
def test_the_last_segment_says_the_operation(verb: str, operation: Operation) -> None:
    assert fields.operation(verb) is operation


def test_the_first_segment_says_the_noun_in_lower_case() -> None:
    assert [fields.noun(name) for name in ("Price.Updated", "ping", "a-b.c.d")] == ["price", "ping", "a-b"]


PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=150)
AWKWARD = st.text(alphabet=".-_xX0127ABCDEFé[]", min_size=1, max_size=150)
"""What escapes, cuts and ends are made of."""
TOPICS = (PRINTABLE | AWKWARD).filter(lambda topic: not set("/: ") & set(topic))
CUT = fields.topic_label("t" * 120, "/t")


@given(one=TOPICS, other=TOPICS)
@example(one="a", other="a.")
@example(one="a", other=".a")
@example(one="account[requirements]", other="account-x5Brequirements-x5D")
@example(one="t" * 120, other=CUT)
@example(one="t" * 120 + ".updated", other="t" * 121 + ".updated")
def test_different_topics_have_different_labels(one: str, other: str) -> None:
    """But for slashes, colons and spaces, which all separate words as dots do."""
    for topic in (one, other):
        assert fields.label(fields.topic_label(topic, "/t"), "/t")
    assert (fields.topic_label(one, "/t") == fields.topic_label(other, "/t")) == (one == other)


@pytest.mark.parametrize("topic", ["a/b", "a:b", "a b", "/a/b/", " a: b ", "a // b"])
def test_slashes_colons_and_spaces_separate_words(topic: str) -> None:
    assert fields.topic_label(topic, "/t") == "a.b"
    assert fields.topic_label("a.b", "/t") == "a.b"


def test_a_label_that_is_cut_keeps_its_verb() -> None:
    assert fields.topic_label("long." * 40 + "deleted", "/t").endswith(".deleted")
    assert fields.operation(fields.topic_label("long/" * 40 + "deleted", "/t")) is Operation.DELETE
