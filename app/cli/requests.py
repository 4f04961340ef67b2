"""Owns ``tiercel requests``: what senders ask besides taking events, and a person's word on it."""

import getpass

import click
import orjson

from app.cli import given, show
from app.cli.connect import opened, read_settings, session
from app.cli.groups import Group
from app.cli.policygiven import author
from app.db.engine import transaction
from app.privacy import sender_requests
from app.privacy.sender_requests import OPEN, RequestFilter
from app.reporting import serializers
from app.security import audit
from app.security.audit import Action


@click.group("requests", cls=Group)
def group() -> None:
    """What senders ask: to leave, to erase, to list."""


@group.command("list", epilog="Example: tiercel requests list --all")
@click.option("--all", "every", is_flag=True, help="Those that are done or dismissed, too.")
@show.as_json
def list_(every: bool, as_json: bool) -> None:
    """List the requests that wait, newest first."""
    with session(read_settings()) as open_session:
        wanted = RequestFilter(statuses=None if every else OPEN)
        shown = [
            serializers.sender_request(request, source)
            for request, source in sender_requests.listed(open_session, wanted)
        ]
    if as_json:
        show.json(shown)
        return
    names = ("id", "source", "kind", "status", "subject", "received_at", "decided_by", "done_at")
    rows = [[orjson.dumps(one[name]).decode() if name == "subject" else one[name] for name in names] for one in shown]
    show.table([name.replace("_", " ") for name in names], rows)


@group.command("show", epilog="Example: tiercel requests show 7")
@click.argument("request_id", type=int)
def show_(request_id: int) -> None:
    """Show, as JSON, what is kept of the customer whom a request is about."""
    with session(read_settings()) as open_session:
        held = sender_requests.held(open_session, sender_requests.find(open_session, request_id))
    held["entities"] = [{**one, "data": orjson.Fragment(one["data"])} for one in held["entities"]]
    show.json(held)


@group.command("confirm", epilog="Example: tiercel requests confirm 7 --yes")
@click.argument("request_id", type=int)
@click.option("--yes", is_flag=True, help="Don't ask.")
@show.as_json
def confirm(request_id: int, yes: bool, as_json: bool) -> None:
    """Carry out a request now: disable the source, erase, or note that the list was handed over."""
    settings = read_settings()
    with opened(settings) as engine:
        with transaction(engine) as open_session:
            kind = sender_requests.find(open_session, request_id).kind
        if not yes:
            if not given.is_terminal():
                raise click.UsageError("this can't be undone; say --yes to do it without being asked")
            click.confirm(f"{serializers.request_kind(kind)}: do it? It can't be undone.", abort=True)
        with transaction(engine) as open_session:
            sender_requests.confirm(open_session, request_id, getpass.getuser())
            audit.record(open_session, Action.REQUEST_CONFIRMED, f"request:{request_id}", actor=author())
        done = sender_requests.carry_out(engine, request_id)
    if as_json:
        show.json({"id": request_id, "done": done})
        return
    click.echo(f"request {request_id} is {'done' if done else 'confirmed, and goes on in the background'}")


@group.command("dismiss", epilog="Example: tiercel requests dismiss 7")
@click.argument("request_id", type=int)
@show.as_json
def dismiss(request_id: int, as_json: bool) -> None:
    """End a request without doing it; a source that was leaving stays."""
    with session(read_settings()) as open_session:
        sender_requests.dismiss(open_session, request_id, getpass.getuser())
        audit.record(open_session, Action.REQUEST_DISMISSED, f"request:{request_id}")
    if as_json:
        show.json({"id": request_id, "dismissed": True})
    else:
        click.echo(f"request {request_id} is dismissed")
