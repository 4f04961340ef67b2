"""Owns poison: events that kill their process, never end, or want all memory, among the usual load."""

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import select

from app.db.engine import transaction
from app.models import Event, Outcome
from bench.harness.target import Sender, Target, senders
from tests.faults.injections import Fault
from tests.faults.run import Result, run
from tests.faults.system import System

POISONS = ("poison-exit", "poison-memory")
ENDLESS = "poison-loop"
"""Takes a worker's child for as long as a task may run, twice: for the long form."""
_DEAD_WITHIN_S = 240.0


@dataclass
class _Poison:
    nouns: Sequence[str]
    target: Target
    outcomes: dict[str, Outcome | None] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def inject(self, system: System) -> Iterator[None]:
        with senders(self.target, {"poison": ("standard", {})}) as (made, _):
            for noun in self.nouns:
                self.ids[noun] = _send(self.target, made["poison"], noun)
            yield
            system.until(self.all_ended, _DEAD_WITHIN_S, "every poison dead")

    def all_ended(self) -> bool:
        with transaction(self.target.engine) as session:
            wanted = select(Event.id, Event.outcome).where(Event.id.in_(self.ids.values()))
            found = {event_id: outcome for event_id, outcome in session.execute(wanted)}  # noqa: C416  # a row is no pair
        self.outcomes = {noun: found.get(uuid.UUID(event_id)) for noun, event_id in self.ids.items()}
        return all(outcome is not None for outcome in self.outcomes.values())


def poisoned(
    system: System, nouns: Sequence[str], *, seed: int, count: int, rate: float
) -> tuple[dict[str, Outcome | None], Result]:
    """Run the usual load with poison in it; return what became of each poison, and of the rest."""
    target = system.target()
    poison = _Poison(nouns, target)
    try:
        result = run(system, Fault(f"poison: {', '.join(nouns)}", poison.inject, 0), seed=seed, count=count, rate=rate)
    finally:
        target.engine.dispose()
    return poison.outcomes, result


def _send(target: Target, sender: Sender, noun: str) -> str:
    body = b'{"type":"%s.updated","data":{"id":"x","n":1}}' % noun.encode()
    headers = sender.sign(f"msg_{noun}", f"{noun}.updated", body, time.time())
    with target.door() as door:
        answer = door.send("POST", f"/webhooks/{sender.name}", body, {"Content-Type": "application/json", **headers})
    return str(answer.json()["id"])
