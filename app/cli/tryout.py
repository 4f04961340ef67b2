"""``tiercel sources test NAME --file BODY``: what a source would make of a body, without storing it."""

import time
from collections.abc import Sequence
from typing import Any

import click

from app.cli import show
from app.cli.connect import read_settings, session
from app.errors import BodyMalformed, ConfigInvalid, FieldInvalid
from app.events.incoming import Clock, Incoming
from app.handlers import handler_for
from app.inbox.schedule import schedule_of
from app.priority import Decision
from app.priority.stored.live import LivePolicies
from app.security.vault import Vault
from app.sources import configured
from app.sources.configured import Endpoint
from app.sources.kinds import Request
from app.sources.kinds.read import Reading, interpret

Tried = dict[str, Any]


def headers_of(given: Sequence[str]) -> dict[str, str]:
    """Return headers written as ``Name: value``. Exits where one isn't."""
    found = {}
    for header in given:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{header!r} isn't NAME: VALUE", param_hint="--header")
        found[name.strip().lower()] = value.strip()
    return found


def tried(name: str, body: bytes, headers: dict[str, str]) -> list[Tried]:
    """Return what each delivery in a body would become; the signature isn't looked at.

    Raises:
        SourceUnknown, ConfigInvalid: there is no such source, or it can't be used.
    """
    settings = read_settings()
    policies = LivePolicies()
    with session(settings) as opened:
        endpoint = configured.ready(configured.find(opened, name), Vault(settings))
        policies.read(opened)
    if endpoint is None:
        raise ConfigInvalid(f"the source {name!r} can't be used by this release")
    now = time.time()
    request = Request({"content-type": "application/json", **headers}, body, now)

    def decide(event: Incoming) -> Decision:
        return policies.decide(event, kind=endpoint.kind.name, at=now)

    try:
        parts = endpoint.kind.split(request, endpoint.config)
    except (BodyMalformed, FieldInvalid) as error:
        return [_unmapped(str(error))]
    return [one for part in ([request] if parts is None else parts) for one in _read(endpoint, part, decide)]


def _read(endpoint: Endpoint, request: Request, decide: Any) -> list[Tried]:
    delivery = None
    try:
        delivery = endpoint.kind.open(request, [], endpoint.config)
        reading = interpret(endpoint.kind, delivery, request, endpoint.config, endpoint.name)
    except (BodyMalformed, FieldInvalid) as error:
        return [_unmapped(str(error), delivery.topic if delivery else None)]
    if not reading.events:
        return [{"topic": reading.delivery.topic, "read_by": _by(reading), "becomes": "ignored"}]
    return [_event(reading, event, decide(event)) for event in reading.events]


def _unmapped(reason: str, topic: str | None = None) -> Tried:
    return {"topic": topic, "read_by": None, "becomes": "unmapped", "reason": reason}


def _by(reading: Reading) -> str:
    return "the kind" if reading.rule is None else f"the mapping's rule for {reading.rule.type}"


def _event(reading: Reading, event: Incoming, decision: Decision) -> Tried:
    fact = handler_for(event.entity_type).is_fact(event.type) if event.fact is None else event.fact
    version = event.version
    return {
        "topic": reading.delivery.topic,
        "read_by": _by(reading),
        "becomes": " and ".join(word for word, is_it in (("state", event.state), ("fact", fact)) if is_it),
        "type": event.type,
        "entity_type": event.entity_type,
        "entity_id": event.entity_id,
        "operation": event.operation.name.lower(),
        "version": None if version is None else version.text,
        "clock": None if version is None else Clock(version.clock).value,
        "completeness": event.completeness.name.lower(),
        "data": event.data_pointer,
        "lane": decision.lane.name.lower(),
        "reasons": list(decision.reasons),
        "notes": [*event.notes, *schedule_of(event).notes],
        "key": event.external_id,
    }


def print_tried(results: Sequence[Tried]) -> None:
    """Print what each event would become."""
    for number, one in enumerate(results, 1):
        title = f"event {number} of {len(results)}" if len(results) > 1 else "event"
        rows = [(name.replace("_", " "), _cell(value)) for name, value in one.items() if value not in (None, [])]
        show.table((title, ""), rows)
    click.echo("nothing is stored")


def _cell(value: Any) -> Any:
    return "; ".join(map(str, value)) if isinstance(value, list) else value
