"""The command line: send, to a real receiver."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from werkzeug.serving import make_server

from app.cli import bodies
from app.cli.bodies import Example
from app.db.engine import transaction
from app.errors import ConfigInvalid
from app.models import Event
from app.security.vault import Vault
from app.sources import configured
from app.sources.kinds import KINDS
from app.sources.kinds.kind import Config
from app.web.factory import create_app
from config.settings import Settings
from tests.support.cli_run import from_json, ok, refused, run
from tests.support.factories import Inbox, whsec

SECRETS = {"standard": whsec(), "squarespace": "0f" * 32}
ANY_TYPE = (None, "promotion.created", "price.deleted", "catalog-release.updated")
TYPES = {
    "adobe-io": (None, "product.deleted", "coupon.deleted", "sales_rule.updated"),
    "bigcommerce": (None, "category.deleted", "cart_line_item.updated"),
    "shopify": (None, "discount.created", "product.deleted", "segment.updated"),
    "squarespace": (None, "order.created", "order.refunded", "extension.uninstalled"),
}
"""The types that each kind's senders have; those that aren't named here have any."""


@pytest.fixture
def receiver(engine: Engine, settings: Settings) -> Iterator[str]:
    """A receiver on a port of its own; the value is its URL."""
    flask_app = create_app(settings)
    server = make_server("127.0.0.1", 0, flask_app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
    flask_app.extensions["receiver"].close()


@pytest.fixture
def strange() -> Iterator[str]:
    """Something that answers every POST with a redirect and bytes for a terminal."""

    class Strange(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(b"\x1b[2J gone")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Strange)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _add(engine: Engine, vault: Vault, kind: str, config: dict[str, Any] | None = None) -> None:
    with transaction(engine) as session:
        configured.add(session, vault, "sender", kind, SECRETS.get(kind, "a-long-enough-secret"), config or {})


@pytest.mark.parametrize(
    ("kind", "type_"), [(kind, type_) for kind in sorted(bodies.MAKERS) for type_ in TYPES.get(kind, ANY_TYPE)]
)
def test_each_kind_sends_what_its_receiver_accepts(
    receiver: str, engine: Engine, vault: Vault, kind: str, type_: str | None
) -> None:
    _add(engine, vault, kind)
    said = ok("send", "sender", "--url", receiver, *(("--type", type_) if type_ else ()))
    status, answer = said.split(" ", 1)
    assert status == str(KINDS[kind].accepted_status)
    shown = from_json("events", "show", json.loads(answer)["id"])
    assert shown["entity_id"].rpartition("/")[2] in {"example-1", "9007199254740993"}
    assert shown["type"] == type_ or type_ is None
    assert shown["version"] is not None or type_ == "price.deleted" or kind == "squarespace"


@pytest.mark.parametrize(
    "config",
    [
        {"signed_timestamp": True, "algorithm": "sha512", "encoding": "base64"},
        {
            "key_pointer": "/meta/key",
            "type_pointer": "/meta/type",
            "entity_pointer": "/meta/noun",
            "id_pointer": "/resource/~1id",
            "version_pointer": "/resource/version",
            "version_clock": "counter",
            "sequence_pointer": "/meta/n",
            "operation_pointer": "/meta/verb",
            "data_pointer": "/resource",
        },
        {"key_header": "x-delivery"},
        {"auth": "header", "header": "x-token", "prefix": "", "key_header": "x-delivery"},
        {"auth": "url", "key_header": "x-delivery"},
    ],
)
def test_hmac_sends_as_its_options_say(receiver: str, engine: Engine, vault: Vault, config: dict[str, Any]) -> None:
    _add(engine, vault, "hmac", config)
    said = ok("send", "sender", "--url", receiver, "--id", "key-1")
    (shown,) = from_json("events", "list")
    assert said.startswith("202 {")
    assert (shown["type"], shown["entity_type"], shown["entity_id"]) == ("price.updated", "price", "example-1")
    assert shown["external_id"] == "key-1" or config.get("signed_timestamp")
    with transaction(engine) as session:
        (sequence,) = session.scalars(select(Event.sequence))
    assert (sequence > 0) == ("sequence_pointer" in config)


def test_standard_puts_the_example_where_the_options_look(receiver: str, engine: Engine, vault: Vault) -> None:
    _add(engine, vault, "standard", {"id_pointer": "/data/sku", "version_pointer": "/changed"})
    ok("send", "sender", "--url", receiver)
    (shown,) = from_json("events", "list")
    assert shown["entity_id"] == "EXAMPLE-SKU"


def test_elastic_paths_bodies_are_as_its_own() -> None:
    wanted = Example("key", "currency.deleted", None, 1, 0.0, "the-secret", Config())
    deleted = json.loads(bodies.body("elasticpath", wanted))
    assert deleted["payload"] == {"id": "example-1", "type": "currency"}
    assert deleted["configuration"]["secret_key"] == "the-secret"
    updated = json.loads(bodies.body("elasticpath", replace(wanted, type="currency.updated")))
    assert updated["payload"]["data"]["meta"]["timestamps"]["updated_at"] == "1970-01-01T00:00:00.000Z"


def test_elastic_path_sends_its_secret_along_and_none_is_kept(receiver: str, engine: Engine, vault: Vault) -> None:
    _add(engine, vault, "elasticpath")
    ok("send", "sender", "--url", receiver)
    (shown,) = from_json("events", "list")
    payload = from_json("events", "show", shown["id"])["payload"]
    assert payload["configuration"]["secret_key"] == "[redacted]"


@pytest.mark.parametrize("kind", sorted(bodies.MAKERS))
def test_given_data_arrives_to_the_digit(
    receiver: str, engine: Engine, vault: Vault, tmp_path: Path, kind: str
) -> None:
    _add(engine, vault, kind)
    (tmp_path / "data.json").write_text('{"id": 12345678901234567890, "amount": 9.900000000000000001}')
    for given, stdin in (
        (f"@{tmp_path / 'data.json'}", None),
        ("-", (tmp_path / "data.json").read_text()),
        ((tmp_path / "data.json").read_text(), None),
    ):
        words = ("send", "sender", "--url", receiver, "--type", "price.updated", "--id", given[:1], "--data", given)
        assert ok(*words, stdin=stdin).startswith("20")
    assert "9.900000000000000001" in ok("events", "show", from_json("events", "list")[0]["id"])
    assert {one["entity_id"] for one in from_json("events", "list")} == {"12345678901234567890"}


def test_the_same_key_twice_is_shown_as_duplicate_and_another_body_as_conflict(receiver: str, inbox: Inbox) -> None:
    words = ("send", "shop", "--url", f"{receiver}/", "--id", "one", "--body")
    body = '{"type": "price.updated", "data": {"id": "1"}}'
    assert ok(*words, body).startswith("202 {")
    assert ok(*words, body).startswith("200 DUPLICATE {")
    assert ok(*words, "-", stdin=body.replace("1", "2")).startswith("200 CONFLICT {")


def test_as_many_are_sent_as_were_asked_for_each_with_its_own_key(receiver: str, inbox: Inbox) -> None:
    lines = ok("send", "shop", "--url", receiver, "--count", "3").splitlines()
    assert [line[:5] for line in lines] == ["202 {"] * 3
    assert {one["entity_id"] for one in from_json("events", "list")} == {"example-1", "example-2", "example-3"}


@pytest.mark.parametrize(
    ("kind", "content_type", "body"),
    [
        ("standard", "application/x-ndjson", b'{"type":"a.b","data":{"id":1}}\n{"type":"a.b","data":{"id":2}}\n'),
        (
            "cloudevents",
            "application/cloudevents-batch+json",
            b'[%b,{"specversion":"1.0","id":"2","source":"/s","type":"a.b","data":{"id":2}}]'
            % b'{"specversion":"1.0","id":"1","source":"/s","type":"a.b","data":{"id":1}}',
        ),
    ],
)
def test_a_batch_is_sent_as_what_it_is(  # noqa: PLR0913  # fixtures
    receiver: str, engine: Engine, vault: Vault, tmp_path: Path, kind: str, content_type: str, body: bytes
) -> None:
    _add(engine, vault, kind)
    (tmp_path / "batch").write_bytes(body)
    words = ("send", "sender", "--url", receiver, "--body", f"@{tmp_path / 'batch'}", "--content-type", content_type)
    status, _, answer = ok(*words).partition(" ")
    assert (status, json.loads(answer)["accepted"]) == ("202", 2)


def test_an_answer_that_is_not_2xx_is_shown_and_fails(receiver: str, inbox: Inbox) -> None:
    lines = ("--body", "{}\n" * 501, "--content-type", "application/x-ndjson")
    too_large = run("send", "shop", "--url", receiver, *lines)
    assert (too_large.exit_code, too_large.stdout[:4]) == (1, "413 ")
    wrong_secret = run("send", "shop", "--url", receiver, "--secret", whsec())
    assert (wrong_secret.exit_code, wrong_secret.stdout[:4]) == (1, "401 ")


def test_a_kind_and_a_secret_need_no_database(receiver: str, inbox: Inbox, tmp_path: Path) -> None:
    nowhere = "postgresql://127.0.0.1:1/x"
    words = ("send", "shop", "--url", receiver, "--kind", "standard", "--secret", "-")
    assert ok(*words, stdin=inbox.secret, DATABASE_URL=nowhere).startswith("202 ")
    (tmp_path / "options.json").write_text('{"version_pointer": "/data/changed"}')
    options = ("--config", str(tmp_path / "options.json"))
    assert ok(*words, *options, stdin=inbox.secret, DATABASE_URL=nowhere).startswith("202 ")


def test_a_redirect_is_not_followed_and_the_answer_cannot_steer_the_terminal(strange: str, inbox: Inbox) -> None:
    answered = run("send", "shop", "--url", strange)
    assert (answered.exit_code, answered.stdout) == (1, "302 \N{REPLACEMENT CHARACTER}[2J gone\n")


def test_a_receiver_that_is_not_there_is_one_line(inbox: Inbox) -> None:
    assert "can't be reached" in refused("send", "shop", PORT="1")


@pytest.mark.parametrize(
    "words",
    [
        ("--data", "{}", "--body", "{}"),
        ("--data", "-", "--secret", "-"),
        ("--kind", "standard"),
        ("--config", "x"),
        ("--data", "{"),
        ("--data", "@/nowhere"),
        ("--url", "ftp://127.0.0.1"),
        ("--url", "http://[::1"),
        ("--url", "127.0.0.1:8000"),
        ("--count", "0"),
        ("--content-type", "application/x-ndjson"),
    ],
)
def test_words_that_make_no_sense_are_a_usage_error(inbox: Inbox, words: tuple[str, ...]) -> None:
    refused("send", "shop", *words, code=2)


def test_a_source_that_cannot_send_says_why(inbox: Inbox) -> None:
    assert "no source 'nobody'" in refused("send", "nobody")
    assert "can't travel in a header" in refused("send", "shop", "--id", "a\nb")
    inbox.sql("UPDATE source SET secrets = '[]'")
    assert "has no secret" in refused("send", "shop")
    inbox.sql("UPDATE source SET kind = 'carrier-pigeon'")
    assert "carrier-pigeon" in refused("send", "shop")


def test_a_kind_without_a_maker_asks_for_the_whole_body() -> None:
    wanted = Example("key", "price.updated", None, 1, 0.0, "secret", Config())
    with pytest.raises(ConfigInvalid, match="--body"):
        bodies.body("carrier-pigeon", wanted)


def test_every_kind_has_a_maker_and_every_maker_a_kind() -> None:
    assert set(bodies.MAKERS) == set(KINDS)


def test_nothing_is_put_through_what_is_no_object() -> None:
    body = {"data": {"id": [1]}}
    bodies._put(body, "/data/id/deep/er", 1)
    assert body == {"data": {"id": [1]}}
