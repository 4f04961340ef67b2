"""Owns ``tiercel priority``: the policy that decides lanes: reading it, changing it, asking it."""

import time
import uuid
from typing import Any

import click
import orjson
from sqlalchemy.orm import Session

from app.cli import given, policygiven, show
from app.cli.connect import read_settings, session
from app.cli.groups import Group
from app.cli.prioritytrial import backtest_, shadow_
from app.inbox import read
from app.priority import Compiled
from app.priority.stored import serializers, subject, versions
from app.priority.stored.versions import SHIPPED, StoredPolicy

_LIMIT = click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many.")
_EXPECTED = click.option(
    "--if-version", "expected", type=click.IntRange(SHIPPED), help="Only while this version is live."
)


_SHORT, _LINE = 60, 100


@click.group("priority", cls=Group)
def group() -> None:
    """The priority policy: which event goes to which lane, and why."""


group.add_command(backtest_)
group.add_command(shadow_)


@group.command("show", epilog="Example: tiercel priority show --json")
@click.option("--version", type=click.IntRange(SHIPPED), help="This version, not the live one; 0 is the shipped one.")
@click.option("--candidate", is_flag=True, help="The candidate, not the live one.")
@show.as_json
def show_(version: int | None, candidate: bool, as_json: bool) -> None:
    """Show the live policy; --json prints what "set" takes."""
    with session(read_settings()) as opened:
        stored = _chosen(opened, version, candidate)
    if as_json:
        show.json(stored.policy.document())
        return
    policy = stored.policy
    click.echo(f"version {stored.version}, {_of(stored)}")
    rows = [
        (rule.name, rule.lane, rule.priority, _when(rule.when.model_dump(exclude_none=True))) for rule in policy.rules
    ]
    rows.append((policy.otherwise.name, policy.otherwise.lane, policy.otherwise.priority, "no rule matches"))
    show.table(("rule", "lane", "priority", "when"), rows)
    if policy.matrix is None:
        return
    factors = [(name, factor.weight) for name, factor in policy.matrix.factors if factor is not None]
    show.table(("factor", "weight"), factors, title="matrix")
    thresholds = [(one.score, one.lane, one.priority) for one in policy.matrix.thresholds]
    show.table(("score from", "lane", "priority"), thresholds)


@group.command("history", epilog="Example: tiercel priority history --limit 5")
@_LIMIT
@show.as_json
def history(limit: int, as_json: bool) -> None:
    """List the changes of the policy, the newest first: who, when, what."""
    with session(read_settings()) as opened:
        changes = [serializers.change(row) for row in versions.history(opened, limit)]
    if as_json:
        show.json(changes)
        return
    rows = [
        (one["at"], one["action"], one["version"], one["was"], one["author"], len(one["diff"]), one["note"])
        for one in changes
    ]
    show.table(("at (UTC)", "action", "version", "was live", "by", "changes", "note"), rows)


@group.command("set", epilog="Example: tiercel priority set policy.json --if-version 3 --note 'Black Friday'")
@click.argument("file", metavar="FILE|-", required=False)
@click.option("--candidate", is_flag=True, help="Make the candidate live, in place of a file.")
@_EXPECTED
@policygiven.note
@click.option("--dry-run", is_flag=True, help="Check it and show what it would change; set nothing.")
@show.as_json
def set_(file: str | None, candidate: bool, expected: int | None, note: str, dry_run: bool, as_json: bool) -> None:
    """Make a policy live, in every process within 2 s; FILE is JSON as "show --json" prints it."""
    if (file is None) != candidate:
        raise click.UsageError("either FILE, or --candidate")
    policy = None if file is None else policygiven.policy(file)
    with session(read_settings()) as opened:
        wanted = policy or versions.candidate(opened).policy
        changes = versions.changes(opened, wanted)
        stored = None
        if not dry_run and policy is None:
            stored = versions.promote(opened, expected=expected, author=policygiven.author(), note=note)
        elif not dry_run:
            stored = versions.put(opened, wanted, expected=expected, author=policygiven.author(), note=note)
    if as_json:
        show.json({"version": None if stored is None else stored.version, "diff": changes})
        return
    _show_changes(changes)
    click.echo("nothing is set: a dry run" if stored is None else f"version {stored.version} is live")


@group.command("rollback", epilog="Example: tiercel priority rollback")
@click.option("--to", type=click.IntRange(SHIPPED), help="This version's content; else what was live before.")
@_EXPECTED
@policygiven.note
@click.option("--dry-run", is_flag=True, help="Show what it would change; set nothing.")
@show.as_json
def rollback(to: int | None, expected: int | None, note: str, dry_run: bool, as_json: bool) -> None:
    """Make an older version's content live again, as a new version; 0 is the shipped policy."""
    with session(read_settings()) as opened:
        stored = versions.roll_back(opened, to=to, expected=expected, author=policygiven.author(), note=note)
        changes = versions.history(opened, 1)[0].diff
        if dry_run:
            opened.rollback()
    if as_json:
        show.json({"version": None if dry_run else stored.version, "diff": changes})
        return
    _show_changes(changes)
    click.echo("nothing is set: a dry run" if dry_run else f"version {stored.version} is live: {stored.note}")


@group.command("explain", epilog="Example: tiercel priority explain 0199f0c1-7d1e-7a90-b6b7-0f2f6a3a9f11")
@click.argument("event_id", metavar="ID", type=click.UUID, required=False)
@click.option("--event", "made_up", metavar="JSON|@FILE|-", help='An event in place of ID: {"type", "data", …}.')
@click.option("--policy", "file", metavar="FILE|-", help="Under this policy, not the live one.")
@click.option("--version", type=click.IntRange(SHIPPED), help="Under this version.")
@click.option("--candidate", is_flag=True, help="Under the candidate.")
@show.as_json
def explain(
    event_id: uuid.UUID | None,
    made_up: str | None,
    file: str | None,
    version: int | None,
    candidate: bool,
    as_json: bool,
) -> None:
    """Say where an event goes, and why: a stored one as it arrived, or one that you write."""
    if (event_id is None) == (made_up is None):
        raise click.UsageError("either ID, or --event")
    given.one_standard_input(made_up, file)
    written = None if made_up is None else given.json(given.raw(made_up, "--event"), "--event")
    policy = None if file is None else policygiven.policy(file)
    with session(read_settings()) as opened:
        compiled = Compiled(policy) if policy else _chosen(opened, version, candidate).compiled()
        if event_id is None:
            about, decided = subject.made_up(written, time.time()), None
        else:
            event, source = read.event(opened, event_id)
            about, decided = subject.stored(opened, event, source), serializers.decided(event)
    explained = compiled.explain(about.incoming, kind=about.kind, at=about.at).as_json()
    if decided is not None:
        explained["stored"] = decided
    if as_json:
        show.json(explained)
        return
    click.echo(f"{explained['lane']}, priority {explained['priority']}: {'; '.join(explained['reasons'])}")
    rows = [(one["rule"], one["matched"], one["missed"]) for one in explained["rules"]]
    show.table(("rule", "matched", "missed by"), rows)
    if explained["factors"]:
        factors = [tuple(one.values()) for one in explained["factors"]]
        show.table(("factor", "weight", "points", "share"), factors, title=f"score {explained['score']}")


def _chosen(opened: Session, version: int | None, candidate: bool) -> StoredPolicy:
    if candidate and version is not None:
        raise click.UsageError("either --version or --candidate")
    if candidate:
        return versions.candidate(opened)
    return versions.live(opened) if version is None else versions.find(opened, version)


def _of(stored: StoredPolicy) -> str:
    since = "" if stored.live_from is None else f" since {show.cell(stored.live_from)}"
    return f"{stored.state.name.lower()}{since}, by {stored.author}" + (f": {stored.note}" if stored.note else "")


def _when(when: dict[str, Any]) -> str:
    said = [f"{name} {', '.join(patterns)}" for name, patterns in when.items() if name != "payload"]
    said += [f"{one['pointer'][0]} {one['op']} {one.get('value', '')}".strip() for one in when["payload"]]
    text = "; ".join(said) or "always"
    return text if len(text) <= _LINE else f"{text[: _LINE - 1]}…"


def _show_changes(changes: list[dict[str, Any]]) -> None:
    if not changes:
        click.echo("no change")
        return
    rows = [(one["change"], one["what"], _short(one["before"]), _short(one["after"])) for one in changes]
    show.table(("change", "what", "before", "after"), rows)


def _short(value: object) -> str | None:
    """Return a part of a policy on a part of a line; --json has all of it."""
    text = None if value is None else orjson.dumps(value).decode()
    return text if text is None or len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"
