"""Owns the way from a trace to jobs: each event is decided about by the live policy, at the time of its arrival."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.events.incoming import Incoming, Operation
from app.models import Lane
from app.priority import Compiled
from bench.simulate.simulate import Job
from bench.simulate.trace import EPOCH, TENANTS, Arrival

_SOURCES = {name: number for number, name in enumerate(TENANTS, start=1)}


@dataclass(frozen=True, slots=True)
class Decided:
    """An event and what the policy says of it; the same for every scheduler."""

    number: int
    arrival: Arrival
    lane: Lane
    priority: int

    def job(self) -> Job:
        """Return a new job: nothing has been done yet."""
        return Job(self.number, self.arrival, _SOURCES[self.arrival.source], self.lane, self.priority)


def decided(arrivals: Sequence[Arrival], policy: Compiled) -> list[Decided]:
    """Ask the policy about each event of a day."""
    return [_decided(number, arrival, policy) for number, arrival in enumerate(arrivals)]


def _decided(number: int, arrival: Arrival, policy: Compiled) -> Decided:
    incoming = Incoming(
        source=arrival.source,
        external_id=str(number),
        type=arrival.type,
        entity_type=arrival.type.partition(".")[0],
        entity_id=str(number),
        operation=Operation.UPDATE,
        version=None,
        payload={"type": arrival.type, "data": {"id": str(number), **arrival.data}},
        data_pointer="/data",
    )
    decision = policy.decide(incoming, kind="standard", at=EPOCH + arrival.at)
    return Decided(number, arrival, decision.lane, decision.priority)
