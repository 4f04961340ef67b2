"""Owns the backtest: what a policy would have done with the events of the last days. Reads only, in small bites.

Memory is bounded: a few hundred events at a time, and nine bytes and two for each that was seen.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any

from sqlalchemy import Engine, TextClause, text

from app.db.pipeline import DEFERRED, Answer, PipelinedConnection, pipelined_transaction
from app.errors import BodyMalformed
from app.events.canonical_json import parse_object
from app.events.incoming import Incoming, Operation
from app.models import Lane, Outcome
from app.priority import Compiled
from app.priority.stored.queueing_model import Dispersion, by_lane

BITE = 250
"""Events read at once: a body may have a megabyte."""
MOST = 200_000
"""Events that are looked at if nothing else is said: the newest ones."""
_BUSIEST_S = 10
_PACED = 10_000
"""Events of a lane whose pace is looked at."""
_SHOWN = 50
_AT_LEAST_PER_S = 1.0

# Without figures to go by, the planner may read and sort all that is left for every bite; the index has the order.
_IN_ORDER = tuple(text(f"SET LOCAL enable_{way} = off") for way in ("sort", "incremental_sort", "bitmapscan"))
_FIRST = text("""
SELECT received_at FROM event WHERE received_at >= :since AND received_at < :until
ORDER BY received_at DESC, id DESC OFFSET :most LIMIT 1
""")
# Reads the next bite of history in order of arrival.
_NEXT = text(f"""
SELECT e.received_at, e.id, s.name, s.kind, e.type, e.entity_type, e.entity_id, e.operation, e.payload, e.data_pointer,
       e.lane, e.priority, e.claimed_at, e.finished_at
FROM event e JOIN source s ON s.id = e.source_id
WHERE (e.received_at, e.id) > (CAST(:at AS timestamptz), CAST(:id AS uuid)) AND e.received_at < :until
  AND e.outcome IS DISTINCT FROM {Outcome.UNMAPPED:d} AND (e.state OR e.fact)
ORDER BY e.received_at, e.id LIMIT :bite
""")
_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"


@dataclass(slots=True)
class Backtest:
    """What became of the events, and what would have."""

    events: int = 0
    unreadable: int = 0
    since: datetime | None = None
    """The first event's arrival."""
    until: datetime | None = None
    lanes: Counter[tuple[Lane, Lane]] = field(default_factory=Counter)
    """(the lane it went to, the lane it would have gone to) -> events."""
    types: Counter[tuple[str, Lane, Lane]] = field(default_factory=Counter)
    rules: Counter[tuple[str, Lane, Lane]] = field(default_factory=Counter)
    """By the policy's rule that would have decided."""
    drains: dict[Lane, float] = field(default_factory=dict)
    """Events a second that each lane can do, as measured or as given."""
    waited: dict[Lane, Dispersion] = field(default_factory=dict)
    """Modelled, as the events went."""
    would_wait: dict[Lane, Dispersion] = field(default_factory=dict)
    """Modelled, as they would have gone."""

    def moved(self) -> int:
        """Return how many events would have gone to another lane."""
        return sum(events for (was, would), events in self.lanes.items() if was is not would)

    def as_json(self) -> dict[str, Any]:
        """Return it as the command line shows it; of types and rules those that move the most."""
        return {
            "events": self.events,
            "unreadable": self.unreadable,
            "since": self.since,
            "until": self.until,
            "moved": self.moved(),
            "lanes": {
                was.name.lower(): {would.name.lower(): self.lanes[was, would] for would in Lane} for was in Lane
            },
            "types": _moves(self.types, "type"),
            "rules": _moves(self.rules, "rule"),
            "waiting_model": {
                lane.name.lower(): {
                    "drain_per_s": round(self.drains[lane], 1),
                    "as_it_went_s": _spread(self.waited[lane]),
                    "as_it_would_s": _spread(self.would_wait[lane]),
                }
                for lane in Lane
            },
        }


class _Trace:
    """Arrivals with lane and priority, a few bytes each."""

    def __init__(self) -> None:
        self.arrivals = array("d")
        self.was = bytearray()
        self.would = bytearray()

    def add(self, arrived: float, was: tuple[Lane, int], would: tuple[Lane, int]) -> None:
        self.arrivals.append(arrived)
        self.was.append(was[0] * 10 + was[1])
        self.would.append(would[0] * 10 + would[1])

    def read(self, codes: bytearray) -> Iterator[tuple[float, Lane, int]]:
        return ((at, Lane(code // 10), code % 10) for at, code in zip(self.arrivals, codes, strict=True))


class _Pace:
    """What one lane can do: the greater of its busiest ten seconds, and of one worker's pace from claim to end.

    A lane that had little to do shows the latter, a busy one, which works in batches, the former.
    """

    def __init__(self) -> None:
        self._busiest: Counter[int] = Counter()
        self._took = array("d")

    def add(self, claimed_at: datetime | None, finished_at: datetime) -> None:
        self._busiest[int(finished_at.timestamp()) // _BUSIEST_S] += 1
        if claimed_at is not None and claimed_at < finished_at and len(self._took) < _PACED:
            self._took.append((finished_at - claimed_at).total_seconds())

    def per_s(self) -> float:
        busiest = max(self._busiest.values(), default=0) / _BUSIEST_S
        return max(busiest, 1 / median(self._took)) if self._took else busiest


def backtest(
    engine: Engine,
    policy: Compiled,
    *,
    since: datetime,
    until: datetime,
    most: int = MOST,
    drains: Mapping[Lane, float] | None = None,
) -> Backtest:
    """Ask a policy about the stored events of a time, the newest ``most`` of them, and model how long they would wait.

    ``drains`` gives lanes' drains, in events a second, where the measured ones aren't meant.

    Raises:
        Busy, Unavailable, Transient, Permanent: what the database said.
    """
    found, trace, paces = Backtest(), _Trace(), {lane: _Pace() for lane in Lane}
    for row in _stored(engine, since, until, most):
        was = Lane(row.lane), row.priority
        try:
            payload = parse_object(row.payload.encode())
        except BodyMalformed:
            found.unreadable += 1
            continue
        incoming = Incoming(
            source=row.name,
            external_id="",
            type=row.type,
            entity_type=row.entity_type,
            entity_id=row.entity_id,
            operation=Operation(row.operation),
            version=None,
            payload=payload,
            data_pointer=row.data_pointer,
        )
        arrived = row.received_at.timestamp()
        decided = policy.decide(incoming, kind=row.kind, at=arrived)
        trace.add(arrived, was, (decided.lane, decided.priority))
        found.events += 1
        found.since = found.since or row.received_at
        found.until = row.received_at
        found.lanes[was[0], decided.lane] += 1
        found.types[row.type, was[0], decided.lane] += 1
        found.rules[decided.rule, was[0], decided.lane] += 1
        if row.finished_at is not None:
            paces[was[0]].add(row.claimed_at, row.finished_at)
    found.drains = {**_drains(paces), **(drains or {})}
    found.waited = by_lane(trace.read(trace.was), found.drains)
    found.would_wait = by_lane(trace.read(trace.would), found.drains)
    return found


def _stored(engine: Engine, since: datetime, until: datetime, most: int) -> Iterator[Any]:
    with pipelined_transaction(engine) as session:
        first = _in_order(session, _FIRST, {"since": since, "until": until, "most": most}).scalar_one_or_none()
    # The row at `most` itself stays out, and so do those that arrived in the same instant.
    at, last = since if first is None else first, "f" * 32 if first is not None else _BEFORE_ALL
    while True:
        with pipelined_transaction(engine) as session:
            rows = _in_order(session, _NEXT, {"at": at, "id": last, "until": until, "bite": BITE}).all()
        yield from rows
        if len(rows) < BITE:
            return
        at, last = rows[-1].received_at, str(rows[-1].id)


def _in_order(session: PipelinedConnection, statement: TextClause, values: dict[str, Any]) -> Answer:
    for setting in _IN_ORDER:
        session.execute(setting, execution_options=DEFERRED)
    return session.execute(statement, values)


def _drains(paces: Mapping[Lane, _Pace]) -> dict[Lane, float]:
    """Return each lane's drain; a lane that did nothing does as the best."""
    found = {lane: pace.per_s() for lane, pace in paces.items()}
    best = max(*found.values(), _AT_LEAST_PER_S)
    return {lane: drain or best for lane, drain in found.items()}


def _moves(counted: Counter[tuple[str, Lane, Lane]], what: str) -> list[dict[str, Any]]:
    moved = [(cell, events) for cell, events in counted.most_common() if cell[1] is not cell[2]]
    return [
        {what: name, "from": was.name.lower(), "to": would.name.lower(), "events": events}
        for (name, was, would), events in moved[:_SHOWN]
    ]


def _spread(spread: Dispersion) -> dict[str, float]:
    return {name: getattr(spread, name) for name in ("count", "p50", "p95", "p99", "longest")}
