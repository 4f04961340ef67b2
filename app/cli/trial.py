"""``tiercel sources test``: one event of a source's own to the running receiver, or what a body would become."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
import requests
from sqlalchemy import Engine

from app.cli import bodies, given, show, tryout
from app.cli.bodies import Example
from app.cli.connect import opened, read_settings
from app.cli.send import addressed, known, post, target_of
from app.db.engine import transaction
from app.errors import TiercelError
from app.inbox import read
from app.models import Event, Outcome, Status
from app.sources import configured
from app.sources.kinds.kind import Outgoing
from config.settings import Settings

_APPLIED_S = 15.0
_POLL_S = 0.1
_CHECKS = ("receive", "verify", "normalise", "store")
_FAILS_AT = {401: "verify", 400: "normalise", 503: "store"}
"""HTTP status to the check that refused; any other is the first one's."""


@dataclass(frozen=True, slots=True)
class TrialStep:
    """One thing that was tried."""

    name: str
    good: bool
    detail: str


@click.command("test", epilog="Example: tiercel sources test shop")
@click.argument("name")
@click.option("--type", "type_", metavar="TYPE", help="The event's type; default: the kind's example.")
@click.option("--secret", "secret_given", metavar="TEXT|-", help="The secret; default: the source's own.")
@click.option("--url", metavar="URL", help="The receiver.  [default: http://127.0.0.1:$PORT]")
@click.option("--file", "file_given", metavar="FILE|-", help="A body: only show what it would become; store nothing.")
@click.option("--header", "headers", multiple=True, metavar="NAME: VALUE", help="With --file: a header beside it.")
@show.as_json
def command(  # noqa: PLR0913  # an option each
    *,
    name: str,
    type_: str | None,
    secret_given: str | None,
    url: str | None,
    file_given: str | None,
    headers: tuple[str, ...],
    as_json: bool,
) -> None:
    """Send one signed example to the running receiver and show the verdict, step by step.

    The event is real: it is kept, and its entity is there afterwards. With --file nothing is sent or stored: it shows
    what the source's mapping or its kind's catalogue makes of a body. Exit code 1 if a step failed, or if something
    in the body can't be read.
    """
    if file_given is not None:
        _try_file(name, file_given, headers, as_json=as_json)
        return
    if headers:
        raise click.UsageError("--header needs --file")
    settings = read_settings()
    secret = None if secret_given is None else given.secret(secret_given)
    target = target_of(url or f"http://127.0.0.1:{settings.port}", name)
    steps: list[TrialStep] = []
    with opened(settings) as engine:
        for step in _steps(settings, engine, name, type_, secret, target):
            steps.append(step)
            if not as_json:
                click.echo(f"{'ok' if step.good else 'FAILED':<8}{step.name:<11}{show.clean(step.detail)}")
    if as_json:
        show.json([{"step": step.name, "ok": step.good, "detail": step.detail} for step in steps])
    if not all(step.good for step in steps):
        raise click.exceptions.Exit(1)


def _try_file(name: str, file_given: str, headers: tuple[str, ...], *, as_json: bool) -> None:
    body = given.raw("-", "--file") if file_given == "-" else given.file(file_given, "--file")
    results = tryout.tried(name, body, tryout.headers_of(headers))
    if as_json:
        show.json(results)
    else:
        tryout.print_tried(results)
    if any(one["becomes"] == "unmapped" for one in results):
        raise click.exceptions.Exit(1)


def _steps(  # noqa: PLR0913  # what the options say
    settings: Settings, engine: Engine, name: str, type_: str | None, secret: str | None, target: str
) -> Iterator[TrialStep]:
    try:
        sender = known(settings, name, secret)
        with transaction(engine) as session:
            source = configured.find(session, name)
            word = "enabled" if source.enabled else "disabled: tiercel sources enable"
            yield TrialStep("source", source.enabled, f"{name}, kind {source.kind}, {word}")
        kind, now, key = sender.kind, time.time(), f"test_{uuid.uuid4().hex}"
        type_ = type_ or bodies.default_type(kind.name, sender.config)
        body = bodies.body(kind.name, Example(key, type_, None, 1, now, sender.secret, sender.config))
        headers = kind.sign(Outgoing(key, type_, body, now), sender.secret, sender.config)
        yield TrialStep("sign", True, f"{type_} as {', '.join(headers) or 'the URL says'}")
        with requests.Session() as http:
            http.trust_env = False
            answer = post(http, addressed(sender, target), body, {"content-type": "application/json", **headers})
    except TiercelError as error:
        yield TrialStep("send", False, str(error))
        return
    refused = None if answer.ok else _failed_at(answer)
    for check in _CHECKS:
        yield TrialStep(check, check != refused, _said(answer) if check in {refused, _CHECKS[-1]} else "passed")
        if check == refused:
            return
    told = answer.json()
    yield from _applied(engine, name, uuid.UUID((told["events"][0] if "events" in told else told)["id"]))


def _failed_at(answer: requests.Response) -> str:
    if _problem(answer).startswith("source-"):
        return _CHECKS[0]
    return _FAILS_AT.get(answer.status_code, _CHECKS[0])


def _problem(answer: requests.Response) -> str:
    told: dict[str, Any] = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    return str(told.get("type", "")).rpartition("#")[2]


def _said(answer: requests.Response) -> str:
    told: dict[str, Any] = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    if answer.ok and "events" in told:
        told = told["events"][0]
    if answer.ok:
        return f"{answer.status_code}, event {told['id']}, lane {told['lane']}"
    return f"{answer.status_code} {str(told.get('type', '')).rpartition('#')[2]}: {told.get('detail', answer.reason)}"


def _applied(engine: Engine, name: str, event_id: uuid.UUID) -> Iterator[TrialStep]:
    end = time.monotonic() + _APPLIED_S
    while (event := _event(engine, event_id)).status in {Status.PENDING, Status.PROCESSING}:
        if time.monotonic() > end:
            yield TrialStep(
                "apply", False, f"still {event.status.name.lower()} after {_APPLIED_S:.0f} s: are workers running?"
            )
            return
        time.sleep(_POLL_S)
    outcome = event.outcome.name.lower() if event.outcome else "none"
    good = event.outcome in {Outcome.APPLIED, Outcome.UNCHANGED, Outcome.SUPERSEDED, Outcome.STALE}
    yield TrialStep("apply", good, f"{outcome}{f': {event.error}' if event.error else ''}")
    if good and event.state:
        where = f"/v1/entities/{name}/{event.entity_type}/{event.entity_id}"
        with transaction(engine) as session:
            entity = read.entity(session, name, event.entity_type, event.entity_id)
            yield TrialStep("entity", True, f"{where} at version {entity.version_text or 'of its arrival'}")


def _event(engine: Engine, event_id: uuid.UUID) -> Event:
    with transaction(engine) as session:
        return read.event(session, event_id)[0]
