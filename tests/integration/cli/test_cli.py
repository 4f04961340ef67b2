"""The command line: its form, sources, keys and the schema."""

import json
import os
import pty
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from sqlalchemy import Engine, text
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from app.cli.main import COMMANDS, tiercel
from app.db.engine import transaction
from app.models import Scope
from app.security import api_keys
from app.security.api_keys import KeyInvalid
from app.security.vault import Vault
from app.sources import configured
from config.settings import Settings
from tests.support.cli_run import PROGRAM, from_json, ok, process, refused, run
from tests.support.factories import Inbox, whsec


def _leaves(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(click.Context(command)):
        child = command.get_command(click.Context(command), name)
        assert child is not None
        yield from _leaves(child, *path, name)


@pytest.mark.parametrize(("path", "command"), list(_leaves(tiercel)), ids=str)
def test_each_command_has_help_with_an_example_that_parses(path: tuple[str, ...], command: click.Command) -> None:
    shown = ok(*path, "--help")
    assert command.epilog is not None
    assert command.epilog.startswith("Example: ")
    assert "Example: " in shown
    line = command.epilog.removeprefix("Example: ").removeprefix("KEY=$(").removesuffix(")")
    words = shlex.split(line.partition(" <")[0])
    assert tuple(words[: len(path) + 1]) == ("tiercel", *path)
    command.make_context(path[-1], words[len(path) + 1 :])


def test_the_list_of_commands_says_of_each_what_it_says_itself() -> None:
    for name, (_, line) in COMMANDS.items():
        command = tiercel.get_command(click.Context(tiercel), name)
        assert command is not None
        assert command.get_short_help_str(200) == line
    assert all(name in ok("--help") for name in COMMANDS)


def test_help_imports_neither_database_nor_broker_nor_settings() -> None:
    code = (
        "import sys; from app.cli import main; print(sorted({'sqlalchemy', 'kombu', 'pydantic'} & set(sys.modules)))"
    )
    found = subprocess.run([PROGRAM.parent / "python", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    assert "Commands:" in process("--help").stdout


def test_an_unknown_command_is_a_usage_error() -> None:
    assert "No such command" in refused("nothing", code=2)


def test_a_setting_that_cannot_be_used_is_one_line() -> None:
    said = refused("lanes", PORT="many")
    assert "PORT" in said
    assert "many" not in said


def test_a_database_that_does_not_answer_is_one_line() -> None:
    assert "the database can't serve" in refused("lanes", DATABASE_URL="postgresql://127.0.0.1:1/x")


@pytest.mark.parametrize("url", ["nonsense", "postgresql://u:hush@h:port/x", "mysql://u:hush@h/x"])
def test_a_database_url_that_is_none_is_one_line_without_the_password(url: str) -> None:
    said = refused("lanes", DATABASE_URL=url)
    assert "DATABASE_URL" in said
    assert "hush" not in said


def test_words_that_are_not_utf8_are_one_line(engine: Engine) -> None:
    assert "isn't UTF-8" in refused("events", "list", "--type", "\udcff")


def test_the_schema_can_be_upgraded_twice(schema: Engine) -> None:
    assert ok("db", "upgrade") == "the schema is up to date\n"
    done = process("db", "upgrade")
    assert (done.returncode, done.stdout) == (0, "the schema is up to date\n")


def test_a_revision_that_does_not_exist_is_one_line(schema: Engine) -> None:
    assert "nowhere" in refused("db", "upgrade", "nowhere")


def test_a_source_is_added_with_its_secret_from_standard_input(engine: Engine, vault: Vault, tmp_path: Path) -> None:
    (tmp_path / "options.json").write_text('{"id_pointer": "/data/sku"}')
    secret = whsec()
    words = ("sources", "add", "shop", "--kind", "standard", "--secret", "-", "--config")
    result = run(*words, str(tmp_path / "options.json"), stdin=f"{secret}\n")
    assert result.stdout == "shop takes events at /webhooks/shop\n"
    assert secret not in result.output
    with transaction(engine) as session:
        source = configured.find(session, "shop")
        assert vault.open(source.secrets[0]["sealed"]) == secret
        assert source.config == {"id_pointer": "/data/sku"}


def test_a_source_is_added_with_its_options_from_standard_input(engine: Engine) -> None:
    words = ("sources", "add", "shop", "--kind", "hmac", "--secret", "long-enough", "--config", "-", "--json")
    shown = json.loads(ok(*words, stdin='{"algorithm": "sha512"}'))
    assert (shown["name"], shown["kind"], shown["path"]) == ("shop", "hmac", "/webhooks/shop")
    assert shown["config"] == {"algorithm": "sha512"}
    assert shown["secrets"] == [{"until": None}]
    assert "long-enough" not in json.dumps(shown)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--kind", "carrier-pigeon", "--secret", "x"), 2, "carrier-pigeon"),
        (("--kind", "standard"), 2, "--secret"),
        (("--kind", "standard", "--secret", "-", "--config", "-"), 2, "only one option"),
        (("--kind", "standard", "--secret", "x", "--config", "/nowhere.json"), 2, "No such file"),
        (("--kind", "standard", "--secret", "whsec_not base64!"), 1, "base64"),
    ],
)
def test_a_source_that_cannot_be_added_says_why(engine: Engine, words: tuple[str, ...], code: int, said: str) -> None:
    assert said in refused("sources", "add", "shop", *words, code=code)
    assert from_json("sources", "list") == []


@pytest.mark.parametrize(("config", "said"), [("{", "isn't JSON"), ("[1]", "a JSON object"), (b"\xff", "isn't JSON")])
def test_options_that_are_no_json_object_are_a_usage_error(engine: Engine, config: str | bytes, said: str) -> None:
    words = ("sources", "add", "shop", "--kind", "standard", "--secret", whsec(), "--config", "-")
    assert said in refused(*words, code=2, stdin=config)


def test_an_unknown_option_of_a_kind_is_named(engine: Engine) -> None:
    words = ("sources", "add", "shop", "--kind", "standard", "--secret", whsec(), "--config", "-")
    assert "speed" in refused(*words, stdin='{"speed": 9}')


def test_a_secret_that_is_not_utf8_is_a_usage_error(engine: Engine) -> None:
    words = ("sources", "add", "shop", "--kind", "elasticpath", "--secret", "-")
    assert "isn't UTF-8" in refused(*words, code=2, stdin=b"secret-\xff\n")


def test_sources_are_listed_without_their_secrets(inbox: Inbox) -> None:
    shown = ok("sources", "list")
    assert "/webhooks/shop" in shown
    assert "the only valid one" in shown
    assert from_json("sources", "list")[0]["secrets"] == [{"until": None}]
    assert inbox.secret not in shown


def test_a_rotated_secret_leaves_the_one_before_valid_for_its_grace(inbox: Inbox, vault: Vault) -> None:
    new = whsec()
    shown = ok("sources", "rotate-secret", "shop", "--secret", "-", "--grace", "2", stdin=new)
    assert shown.startswith("shop has a new secret, the one before until ")
    with transaction(inbox.engine) as session:
        opened = [vault.open(kept["sealed"]) for kept in configured.find(session, "shop").secrets]
    assert opened == [new, inbox.secret]
    assert "the one before until" in ok("sources", "list")


def test_no_grace_ends_the_secret_before_at_once(inbox: Inbox) -> None:
    words = ("sources", "rotate-secret", "shop", "--secret", whsec(), "--grace", "0", "--json")
    assert json.loads(ok(*words))["secrets"] == [{"until": None}]


def test_rotating_the_secret_of_an_unknown_source_is_one_line(engine: Engine) -> None:
    assert "no source 'shop'" in refused("sources", "rotate-secret", "shop", "--secret", whsec())


def test_a_source_is_not_removed_unasked(inbox: Inbox) -> None:
    assert "--yes" in refused("sources", "remove", "shop", code=2)
    assert len(from_json("sources", "list")) == 1


def test_a_removed_source_is_gone_from_the_list(inbox: Inbox) -> None:
    assert ok("sources", "remove", "shop", "--yes") == "shop is removed\n"
    assert from_json("sources", "list") == []
    assert "no source" in refused("sources", "remove", "shop", "--yes")


@pytest.mark.parametrize(("answer", "left"), [(b"y\n", 0), (b"n\n", 1)])
def test_at_a_terminal_a_person_is_asked(inbox: Inbox, answer: bytes, left: int) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        done = process("sources", "remove", "shop", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == (1 if left else 0), done.stderr
    assert len(from_json("sources", "list")) == left


def test_a_key_is_printed_alone_and_works(engine: Engine, vault: Vault) -> None:
    key = ok("keys", "create", "--name", "ci", "--scope", "write").removesuffix("\n")
    assert "\n" not in key
    with transaction(engine) as session:
        assert api_keys.check(session, vault, key, Scope.WRITE).name == "ci"


def test_a_source_gets_a_budget_of_its_own_and_loses_it(inbox: Inbox) -> None:
    assert "may send 200/s, 800 at once, at /webhooks/shop" in ok("sources", "limit", "shop", "200")
    shown = json.loads(ok("sources", "limit", "shop", "0.5", "--burst", "7", "--json"))
    assert shown["limit"] == {"per_s": 0.5, "burst": 7}
    assert from_json("sources", "list")[0]["limit"] == {"per_s": 0.5, "burst": 7}
    assert "the settings' budget" in ok("sources", "limit", "shop", "--default")
    assert from_json("sources", "list")[0]["limit"] is None
    assert "a limit is" in refused("sources", "limit", "shop", "0")
    assert "a limit is" in refused("sources", "limit", "shop", "nan")
    assert "a limit is" in refused("sources", "limit", "shop", "1", "--burst", "0")
    assert "no source 'nobody'" in refused("sources", "limit", "nobody", "1")
    for words in ((), ("1", "--default"), ("--default", "--burst", "1")):
        assert "either PER_S or --default" in refused("sources", "limit", "shop", *words, code=2)


def test_a_revoked_key_is_refused_and_shown_as_revoked(engine: Engine, vault: Vault) -> None:
    key = ok("keys", "create", "--name", "ci", "--scope", "read").strip()
    (shown,) = from_json("keys", "list")
    assert (shown["name"], shown["scope"], shown["revoked_at"]) == ("ci", "read", None)
    assert ok("keys", "revoke", str(shown["id"])).startswith(f"key {shown['id']} is revoked since 20")
    with transaction(engine) as session, pytest.raises(KeyInvalid):
        api_keys.check(session, vault, key, Scope.READ)
    table = ok("keys", "list")
    assert "revoked" in table
    assert key not in table


@pytest.mark.parametrize("words", [("--name", " ", "--scope", "read"), ("--name", "x", "--scope", "root")])
def test_a_key_needs_a_name_and_a_scope(engine: Engine, words: tuple[str, ...]) -> None:
    refused("keys", "create", *words, code=2)
    assert from_json("keys", "list") == []


def test_revoking_an_unknown_key_is_one_line(engine: Engine) -> None:
    assert "no key 7" in refused("keys", "revoke", "7")


def test_without_a_pepper_no_key_is_made(engine: Engine) -> None:
    assert "TIERCEL_KEY_PEPPER" in refused("keys", "create", "--name", "x", "--scope", "read", TIERCEL_KEY_PEPPER="")


def test_the_dispatcher_leads_until_it_is_told_to_stop(engine: Engine, settings: Settings) -> None:
    @retry(retry=retry_if_result(lambda seen: not seen), stop=stop_after_delay(30), wait=wait_fixed(0.1))
    def seen() -> bool:
        with engine.connect() as connection:
            return bool(connection.execute(text("SELECT every(dispatcher_seen_at IS NOT NULL) FROM lane")).scalar())

    with subprocess.Popen([PROGRAM, "dispatcher"], stderr=subprocess.DEVNULL) as dispatcher:
        try:
            seen()
        finally:
            dispatcher.send_signal(signal.SIGTERM)
        assert dispatcher.wait(timeout=30) == 0
