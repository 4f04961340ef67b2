"""The command line: keys that end, sources switched off, the audit log, secrets sealed anew, completion."""

import os
from collections.abc import Iterator

import click
import pytest
from cryptography.fernet import Fernet

from app.cli.main import tiercel
from app.security.vault import Vault
from config.settings import load_settings
from tests.support.cli_run import from_json, ok, process, refused
from tests.support.factories import Inbox, whsec


def test_a_key_can_be_limited_ended_and_rotated(inbox: Inbox) -> None:
    made = from_json("keys", "create", "--name", "ci", "--scope", "read", "--source", "shop", "--expires", "90d")
    assert made["sources"] == ["shop"]
    assert made["expires_at"] is not None
    assert ok("keys", "rotate", str(made["id"])).startswith("tk_")
    assert "shop" in ok("keys", "list")
    newest, before = from_json("keys", "list")
    assert (newest["sources"], newest["revoked_at"]) == (["shop"], None)
    assert before["revoked_at"] is not None
    assert from_json("keys", "revoke", str(newest["id"]))["id"] == newest["id"]
    assert "no key" in refused("keys", "rotate", "99")
    for value in ("2020-01-01", "soon", "99999999d"):
        refused("keys", "create", "--name", "ci", "--scope", "read", "--expires", value, code=2)
    assert inbox.sql("SELECT count(*) FROM audit WHERE action LIKE 'key.%' AND actor LIKE 'cli%'") == [(4,)]


def test_a_source_is_switched_off_and_on(inbox: Inbox) -> None:
    assert from_json("sources", "disable", "shop")["enabled"] is False
    assert "no" in ok("sources", "list")
    assert "takes events again at /webhooks/shop" in ok("sources", "enable", "shop")
    assert from_json("sources", "remove", "shop", "--yes") == {"name": "shop", "removed": True}
    assert "no source" in refused("sources", "enable", "shop")
    shown = ok("audit", "--subject", "source:shop")
    assert all(action in shown for action in ("source.added", "source.changed", "source.removed"))
    assert [one["action"] for one in from_json("audit", "--limit", "2")] == ["source.removed", "source.changed"]
    assert from_json("audit", "--action", "key.created", "--since", "1h", "--actor", "nobody") == []
    assert inbox.sql("SELECT count(*) FROM audit") == [(4,)]


def test_secrets_are_sealed_with_the_first_key_and_stay_what_they_are(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = ok("secrets", "new-key").strip()
    before = inbox.source.revision
    both = f"{new},{os.environ['TIERCEL_SECRET_KEYS']}"
    told = {"dry_run": True, "sources": 1, "secrets": 1}
    assert from_json("secrets", "rotate", "--dry-run", TIERCEL_SECRET_KEYS=both) == told
    assert "1 secrets of 1 sources are sealed" in ok("secrets", "rotate", TIERCEL_SECRET_KEYS=both)
    assert from_json("secrets", "rotate", TIERCEL_SECRET_KEYS=both)["secrets"] == 0
    monkeypatch.setenv("TIERCEL_SECRET_KEYS", new)
    ((secrets, revision),) = inbox.sql("SELECT secrets, revision FROM source")
    vault = Vault(load_settings())
    assert vault.open(secrets[0]["sealed"]) == inbox.secret
    assert vault.is_newest(secrets[0]["sealed"])
    assert revision == before
    stranger = Fernet.generate_key().decode()
    assert "TIERCEL_SECRET_KEYS" in refused("secrets", "rotate", TIERCEL_SECRET_KEYS=stranger)


def test_a_replay_is_told_in_json_and_written_down(inbox: Inbox) -> None:
    ok("sources", "add", "other", "--kind", "standard", "--secret", whsec())
    assert from_json("audit", "--subject", "source:other")[0]["actor"].startswith("cli")
    assert inbox.secret not in ok("audit", "--json")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_completion(shell: str) -> None:
    assert "_TIERCEL_COMPLETE" in ok("completion", shell)


def test_the_completion_completes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_TIERCEL_COMPLETE": "bash_complete", "COMP_WORDS": "tiercel sec", "COMP_CWORD": "1"}.items():
        monkeypatch.setenv(name, value)
    assert process().stdout == "plain,secrets\n"


WAYS = {
    # What somebody wants at night, and the words that lead there from `tiercel --help` alone.
    ("events",): r"what became of it",
    ("events", "dead"): "failed, grouped by reason",
    ("events", "replay"): "Run ended events again, such as dead ones",
    ("sources",): "Who may send",
    ("sources", "rotate-secret"): "Give a source a new secret",
    ("secrets", "rotate"): "Seal every source's secrets anew",
    ("reprioritise",): "Give events that already wait another lane",
}


@pytest.mark.parametrize("path", list(WAYS), ids=" ".join)
def test_help_alone_leads_there(path: tuple[str, ...]) -> None:
    assert path[0] in ok("--help")
    parent = " ".join(ok(*path[:-1], "--help").split())
    assert WAYS[path] in parent
    assert f"tiercel {' '.join(path)}" in ok(*path, "--help")


def test_every_command_that_says_something_says_it_in_json_too() -> None:
    plain = {"completion", "db upgrade", "dispatcher", "metrics", "requests show", "secrets new-key", "send"}
    plain |= {f"health {process_}" for process_ in ("beat", "dispatcher", "worker")}
    without = {
        " ".join(path)
        for path, command in leaves(tiercel)
        if not any("--json" in option.opts for option in command.params)
    }
    assert without == plain


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    ctx = click.Context(command)
    for name in command.list_commands(ctx):
        found = command.get_command(ctx, name)
        assert found is not None
        yield from leaves(found, (*path, name))
