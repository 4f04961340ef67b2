"""Owns ``tiercel sources``: who may send. A secret is read, sealed and never shown."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from app.cli import given, show, skew, trial
from app.cli.connect import read_settings, session
from app.cli.groups import Group
from app.reporting import serializers
from app.security.vault import Vault
from app.sources import configured
from app.sources.configured import Limit
from app.sources.kinds import KINDS

_SECRET = click.option(
    "--secret", "secret_given", required=True, metavar="TEXT|-", help='The secret; "-" reads it from standard input.'
)
_MOST_HOURS = 24 * 365


@click.group("sources", cls=Group)
def group() -> None:
    """Who may send: one endpoint each."""


group.add_command(trial.command)
group.add_command(skew.command)


@group.command("add", epilog="Example: tiercel sources add shop --kind elasticpath --secret - < secret.txt")
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice(sorted(KINDS)), help="What kind of sender it is.")
@_SECRET
@click.option("--config", metavar="FILE|-", help='The kind\'s options as JSON; "-" reads standard input.')
@show.as_json
def add(name: str, kind: str, secret_given: str, config: str | None, as_json: bool) -> None:
    """Add a source; it can send at once to /webhooks/NAME."""
    given.one_standard_input(secret_given, config)
    secret, options, settings = given.secret(secret_given), given.config(config), read_settings()
    with session(settings) as opened:
        shown = serializers.source(configured.add(opened, Vault(settings), name, kind, secret, options))
    _changed(shown, "takes events at", as_json)


@group.command("list", epilog="Example: tiercel sources list")
@show.as_json
def list_(as_json: bool) -> None:
    """List the sources, by name."""
    with session(read_settings()) as opened:
        shown = [serializers.source(source) for source in configured.listed(opened)]
    if as_json:
        show.json(shown)
        return
    columns = ("name", "kind", "endpoint", "enabled", "weight", "secrets", "changed (UTC)")
    rows = [
        (one["name"], one["kind"], one["path"], _enabled(one), one["weight"], _secrets(one), one["updated_at"])
        for one in shown
    ]
    show.table(columns, rows)


@group.command("show", epilog="Example: tiercel sources show shop")
@click.argument("name")
@show.as_json
def show_(name: str, as_json: bool) -> None:
    """Show one source with its options and mapping, never its secrets."""
    with session(read_settings()) as opened:
        shown = serializers.source(configured.find(opened, name))
    if as_json:
        show.json(shown)
        return
    mapping = shown["config"].get("mapping") or []
    options = {option: value for option, value in shown["config"].items() if option != "mapping"}
    rows = [(word, shown[word]) for word in ("name", "kind", "path", "weight", "limit", "created_at", "updated_at")]
    rows[3:3] = [("enabled", _enabled(shown)), ("secrets", _secrets(shown))]
    rows += [(f"option {option}", value) for option, value in options.items()]
    rows += [("refusals", KINDS[shown["kind"]].refusals)] if shown["kind"] in KINDS else []
    show.table(("source", ""), rows)
    if mapping:
        numbered = [(number, rule["type"], show.fragment(rule)) for number, rule in enumerate(mapping, 1)]
        show.table(("rule", "type", "as written"), numbered, title="mapping, in the order tried")


@group.command("configure", epilog="Example: tiercel sources configure shop --config mapping.json")
@click.argument("name")
@click.option("--config", required=True, metavar="FILE|-", help="Options as JSON; null takes one away.")
@show.as_json
def configure(name: str, config: str, as_json: bool) -> None:
    """Change a source's options, at once and everywhere: those that the JSON object names; the others stay."""
    changes = given.config(config)
    with session(read_settings()) as opened:
        source = configured.configure(opened, name, changes)
        opened.flush()
        opened.refresh(source)
        shown = serializers.source(source)
    _changed(shown, f"has {', '.join(sorted(shown['config'])) or 'no options'} set at", as_json)


@group.command("rotate-secret", epilog="Example: tiercel sources rotate-secret shop --secret - --grace 1 < new.txt")
@click.argument("name")
@_SECRET
@click.option(
    "--grace",
    type=click.IntRange(0, _MOST_HOURS),
    default=24,
    show_default=True,
    metavar="HOURS",
    help="How long the secret before stays valid; 0 ends it now.",
)
@show.as_json
def rotate_secret(name: str, secret_given: str, grace: int, as_json: bool) -> None:
    """Give a source a new secret."""
    secret, settings = given.secret(secret_given), read_settings()
    with session(settings) as opened:
        source = configured.rotate_secret(opened, Vault(settings), name, secret, timedelta(hours=grace))
        opened.flush()
        shown = serializers.source(source)
    _changed(shown, f"has a new secret, {_secrets(shown)}, at", as_json)


@group.command("weight", epilog="Example: tiercel sources weight shop 3")
@click.argument("name")
@click.argument("weight", type=click.IntRange(1, configured.MOST_WEIGHT))
@show.as_json
def weight_(name: str, weight: int, as_json: bool) -> None:
    """Set a source's share of a lane that several sources want, beside the others' weights (1)."""
    with session(read_settings()) as opened:
        source = configured.set_weight(opened, name, weight)
        opened.flush()
        shown = serializers.source(source)
    _changed(shown, f"has weight {weight} at", as_json)


@group.command("enable", epilog="Example: tiercel sources enable shop")
@click.argument("name")
@show.as_json
def enable(name: str, as_json: bool) -> None:
    """Enable a source that was disabled, as after its sender left."""
    with session(read_settings()) as opened:
        source = configured.enable(opened, name)
        opened.flush()
        opened.refresh(source)
        shown = serializers.source(source)
    _changed(shown, "takes events again at", as_json)


@group.command("remove", epilog="Example: tiercel sources remove shop --yes")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask.")
@show.as_json
def remove(name: str, yes: bool, as_json: bool) -> None:
    """Remove a source: its endpoint answers 404 from now on; its events and entities stay."""
    if not yes:
        if not given.is_terminal():
            raise click.UsageError(f"this removes the source {name!r}; say --yes to do so without being asked")
        click.confirm(f"Remove the source {name!r}? Its secrets are forgotten.", abort=True)
    with session(read_settings()) as opened:
        configured.remove(opened, name)
    if as_json:
        show.json({"name": name, "removed": True})
    else:
        click.echo(f"{name} is removed")


@group.command("disable", epilog="Example: tiercel sources disable shop")
@click.argument("name")
@show.as_json
def disable(name: str, as_json: bool) -> None:
    """Switch a source off, at once and everywhere; what came before goes on.

    Its sender gets 503 and may try again, or (BigCommerce) 200 while its events are kept as quarantined until
    tiercel events release. What the sender does with refusals is printed.
    """
    with session(read_settings()) as opened:
        source = configured.switch_off(opened, name)
        opened.flush()
        opened.refresh(source)
        shown = serializers.source(source)
    _changed(shown, "is switched off:", as_json)
    if as_json:
        return
    kind = KINDS.get(shown["kind"])
    if kind is not None and kind.keeps_while_disabled:
        click.echo("It answers 200 and keeps what comes as quarantined: tiercel events release --source " + name)
    else:
        click.echo("It answers 503.")
    if kind is not None:
        click.echo(kind.refusals)


@group.command("limit", epilog="Example: tiercel sources limit shop 200 --burst 1000")
@click.argument("name")
@click.argument("per_s", type=float, required=False)
@click.option("--burst", type=int, help="How many at once after a quiet time; else what comes in four seconds.")
@click.option("--default", "as_default", is_flag=True, help="As the settings say again.")
@show.as_json
def limit(name: str, per_s: float | None, burst: int | None, as_default: bool, as_json: bool) -> None:
    """Say how many events a source may send: PER_S a second on average, --burst at once."""
    if as_default == (per_s is not None) or (as_default and burst is not None):
        raise click.UsageError("say either PER_S or --default")
    to = None if per_s is None else Limit(per_s, _burst(per_s) if burst is None else burst)
    with session(read_settings()) as opened:
        shown = serializers.source(configured.limit(opened, name, to))
    what = "has the settings' budget" if to is None else f"may send {to.per_s:g}/s, {to.burst} at once,"
    _changed(shown, f"{what} at", as_json)


def _burst(per_s: float) -> int:
    return max(1, math.ceil(4 * per_s)) if math.isfinite(per_s) else 1


def _changed(shown: dict[str, Any], what: str, as_json: bool) -> None:
    if as_json:
        show.json(shown)
    else:
        click.echo(f"{shown['name']} {what} {shown['path']}")


def _enabled(shown: dict[str, Any]) -> str:
    word = show.cell(shown["enabled"])
    return f"{word}, leaving since {show.cell(shown['leaving_since'])}" if shown["leaving_since"] else word


def _secrets(shown: dict[str, Any]) -> str:
    ends = [datetime.fromisoformat(kept["until"]) for kept in shown["secrets"] if kept["until"]]
    valid = [end for end in ends if end > datetime.now(UTC)]
    return f"the one before until {show.cell(valid[0])}" if valid else "the only valid one"
