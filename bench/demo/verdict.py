"""Owns the verdict: the final rows against the reference model, every fact once, every event with one outcome."""

import http.client
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote

from sqlalchemy import select

from app.db.engine import transaction
from app.events.canonical_json import dump, parse
from app.models import (
    HELD,
    Campaign,
    Currency,
    Entity,
    Event,
    EventConflict,
    Fact,
    Lead,
    Outcome,
    Owned,
    Price,
    Promotion,
    Segment,
    Source,
    Status,
)
from app.sources.kinds import KINDS, Request
from app.sources.kinds.read import read
from bench.demo.ledger import Doorbook, Ended
from bench.demo.message import Message
from bench.demo.sending import Sent
from bench.harness.reference import Accepted, EntityKey, Row, accepted, reference
from bench.harness.target import Sender, Target

SAMPLE = 40
_TYPED: dict[str, type[Owned]] = {
    "price": Price,
    "promotion": Promotion,
    "campaign": Campaign,
    "currency": Currency,
    "segment": Segment,
}


@dataclass(slots=True)
class Check:
    """One thing that must hold."""

    claim: str
    seen: str = ""
    differences: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that is known of a run once it is over."""

    target: Target
    senders: Mapping[str, Sender]
    key: str
    sent: Sequence[Sent]
    book: Doorbook
    events: Mapping[str, Ended]
    sources: Sequence[int]

    def normal_forms(self) -> Iterator[Accepted]:
        """Yield each accepted event that isn't held as the rules see it, from what was sent."""
        for event_id, sent in self.book.accepted.items():
            event = self.events.get(event_id)
            if event is None or event.outcome in HELD:
                continue
            sender = self.senders[sent.message.role]
            request = Request(sent.headers, sent.message.body, 0.0)
            incoming = read(KINDS[sender.kind], request, [sender.secret], sender.config, sender.name).events[0]
            yield accepted(event_id, incoming, event.arrived_at, fact=event.fact)


def checks(run: Run, seed: int) -> Iterator[Check]:
    """Yield every check of a run, each with the differences that it found."""
    rows, facts = reference(run.normal_forms())
    found = _entities(run)
    yield _door(run)
    yield _outcomes(run)
    yield _rows(rows, found)
    yield _over_http(run, rows, Random(seed))
    yield _facts(run, facts)
    yield _typed(run, rows)


def _door(run: Run) -> Check:
    check = Check("every request got the answer it deserved")
    for sent in run.sent:
        message, answer = sent.message, sent.answer
        status = answer.status if answer else None
        wanted = {message.flaw.status} if message.flaw and not message.flaw.unmapped else {200, 202}
        if status not in wanted:
            what = message.flaw.text if message.flaw else message.fate.value
            said = "nothing" if answer is None else f"{status} {answer.title}"
            check.differences.append(f"{message.type} ({what}) got {said}, not {' or '.join(map(str, wanted))}")
    for first in run.book.duplicates:
        if first not in run.book.accepted:
            check.differences.append(f"DUPLICATE of {first}, which was never accepted")
    check.seen = f"{len(run.sent):,} requests, {sum(run.book.refused.values()):,} refused"
    return check


def _outcomes(run: Run) -> Check:
    check = Check("every accepted event has one outcome, nothing else was kept")
    for event_id, sent in run.book.accepted.items():
        event = run.events.get(event_id)
        if event is None:
            check.differences.append(f"{event_id} ({sent.message.type}) was accepted and is lost")
        elif event.outcome is None:
            check.differences.append(f"{event_id} ({sent.message.type}) is still {event.status.name.lower()}")
        elif (event.outcome if event.outcome in HELD else None) is not _held(sent.message):
            check.differences.append(f"{event_id} ({sent.message.type}) ended as {event.outcome.name.lower()}")
        elif (event.outcome in {Outcome.DEAD, *HELD}) != (event.status is Status.FAILED):
            check.differences.append(f"{event_id} is {event.status.name.lower()}, {event.outcome.name.lower()}")
    for event_id in run.events.keys() - run.book.accepted.keys():
        check.differences.append(f"{event_id} was kept, but no sender was told so")
    dead = sum(event.outcome is Outcome.DEAD for event in run.events.values())
    if dead:
        check.differences.append(f"{dead} events are dead")
    with transaction(run.target.engine) as session:
        kept = select(EventConflict.event_id).join(Event, Event.id == EventConflict.event_id)
        conflicts = len(session.scalars(kept.where(Event.source_id.in_(run.sources))).all())
    if conflicts != run.book.conflicts:
        check.differences.append(f"{run.book.conflicts} conflicts were answered, {conflicts} kept for a person")
    check.seen = f"{len(run.book.accepted):,} accepted, {conflicts} conflicts"
    return check


def _held(message: Message) -> Outcome | None:
    """Return the outcome that holds a message's event for a person, where there is one."""
    if message.future:
        return Outcome.QUARANTINED
    return Outcome.UNMAPPED if message.flaw and message.flaw.unmapped else None


def _entities(run: Run) -> dict[EntityKey, Row]:
    wanted = (
        select(Source.name, Entity.entity_type, Entity.entity_id, Entity.version, Entity.data)
        .join(Source, Source.id == Entity.source_id)
        .where(Entity.source_id.in_(run.sources))
    )
    with transaction(run.target.engine) as session:
        return {
            (name, noun, entity_id): Row(version, data is None, data)
            for name, noun, entity_id, version, data in session.execute(wanted)
        }


def _rows(rows: Mapping[EntityKey, Row], found: Mapping[EntityKey, Row]) -> Check:
    check = Check("every final row is the reference model's")
    for key in sorted(rows.keys() | found.keys()):
        wanted, is_there = rows.get(key), found.get(key)
        if wanted != is_there:
            check.differences.append(f"{'/'.join(key)}: {_show(is_there)}, should be {_show(wanted)}")
    deleted = sum(row.deleted for row in found.values())
    check.seen = f"{len(found):,} entities, {deleted} of them deleted"
    return check


def _show(row: Row | None) -> str:
    if row is None:
        return "nothing"
    return f"{row.version} {'deleted' if row.data is None else row.data[:50]}"


def _over_http(run: Run, rows: Mapping[EntityKey, Row], dice: Random) -> Check:
    check = Check("GET /v1/entities says the same")
    sample = dice.sample(sorted(rows), min(SAMPLE, len(rows)))
    headers = {"Authorization": f"Bearer {run.key}"}
    with run.target.door() as door:
        for source, noun, entity_id in sample:
            wanted = rows[source, noun, entity_id]
            path = f"/v1/entities/{source}/{noun}/{quote(entity_id)}"
            try:
                answer = door.send("GET", path, headers=headers)
            except (OSError, http.client.HTTPException) as error:
                check.differences.append(f"{path}: no answer ({error})")
                continue
            shown: Any = parse(answer.body)
            data = None if shown.get("data") is None else dump(shown["data"]).decode()
            if answer.status != 200 or (shown["deleted"], data) != (wanted.deleted, wanted.data):  # noqa: PLR2004
                check.differences.append(f"{path}: {answer.status} {str(data)[:50]}, should be {_show(wanted)}")
    check.seen = f"a sample of {len(sample)}"
    return check


def _facts(run: Run, facts: set[str]) -> Check:
    check = Check("every fact and every lead exactly once")
    with transaction(run.target.engine) as session:
        found = [str(one) for one in session.scalars(select(Fact.event_id).where(Fact.source_id.in_(run.sources)))]
        leads = [str(one) for one in session.scalars(select(Lead.event_id).where(Lead.source_id.in_(run.sources)))]
    wanted_leads = {one for one in facts if run.book.accepted[one].message.type == "lead.captured"}
    for noun, wanted, there in (("fact", facts, found), ("lead", wanted_leads, leads)):
        check.differences += [f"the {noun} of {one} is missing" for one in wanted - set(there)]
        check.differences += [f"the {noun} of {one} should not be there" for one in set(there) - wanted]
        if len(there) != len(set(there)):
            check.differences.append(f"{len(there) - len(set(there))} {noun}s are there twice")
    check.seen = f"{len(found):,} facts, {len(leads):,} leads"
    return check


def _typed(run: Run, rows: Mapping[EntityKey, Row]) -> Check:
    check = Check("the typed rows follow their entities")
    count = 0
    with transaction(run.target.engine) as session:
        for noun, model in _TYPED.items():
            wanted = {(key[0], key[2], row.version) for key, row in rows.items() if key[1] == noun and not row.deleted}
            read = select(Source.name, model.entity_id, model.version).join(Source, Source.id == model.source_id)
            owned = read.where(model.source_id.in_(run.sources), model.entity_type == noun)
            there = {(name, entity_id, version) for name, entity_id, version in session.execute(owned)}
            count += len(there)
            check.differences += [f"{noun} {one} is missing or of another version" for one in sorted(wanted - there)]
            check.differences += [f"{noun} {one} should not be there" for one in sorted(there - wanted)]
    check.seen = f"{count} prices, promotions, campaigns, segments, currencies"
    return check
