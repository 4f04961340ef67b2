"""Owns a policy ready to be asked: closures, made once, and a memory of which rules can concern which events."""

from collections.abc import Callable
from dataclasses import dataclass

from app.events.canonical_json import resolve
from app.events.incoming import Incoming, JsonValue
from app.models import Lane
from app.priority.conditions import Holds, condition, is_literal, matcher
from app.priority.decision import Decision, Explanation, ScorePart, Tried
from app.priority.matrix import Scoring, score, told
from app.priority.policy import LaneName, Policy, Threshold, When

_LANES = {LaneName.HIGH: Lane.HIGH, LaneName.MEDIUM: Lane.MEDIUM, LaneName.LOW: Lane.LOW}
_REMEMBERED = 4096
"""How many combinations of source, kind, type and entity type are remembered; then it starts anew."""
_FIELDS = ("source", "kind", "type", "entity_type", "verb")


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the patterns of a rule look at, in lower case."""

    source: str
    kind: str
    type: str
    entity_type: str
    verb: str


class _Test:
    """A ``when``, compiled: its patterns, which depend on what sort of event it is, and its conditions."""

    def __init__(self, when: When) -> None:
        given = [(name, getattr(when, name)) for name in _FIELDS]
        self._patterns: list[tuple[str, Callable[[str], bool]]] = [
            (name, matcher(patterns)) for name, patterns in given if patterns is not None
        ]
        self.conditions: tuple[Holds, ...] = tuple(condition(one) for one in when.payload)
        self._told = tuple(f"{one.pointer[0]} {one.op.value}" for one in when.payload)

    def concerns(self, facts: _Facts) -> bool:
        return self.missed(facts) is None

    def missed(self, facts: _Facts) -> str | None:
        return next((name for name, fits in self._patterns if not fits(getattr(facts, name))), None)

    def missed_condition(self, data: JsonValue, body: JsonValue) -> str | None:
        pairs = zip(self.conditions, self._told, strict=True)
        return next((text for holds, text in pairs if not holds(data, body)), None)


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    test: _Test
    conditions: tuple[Holds, ...]
    lane: Lane | None
    priority: int | None


@dataclass(frozen=True, slots=True)
class _Sort:
    """What is the same for all events of one source, kind, type and entity type."""

    facts: _Facts
    rules: tuple[_Rule, ...]
    """Those whose patterns fit, up to the first that has no condition."""
    scored: bool


class Compiled:
    """A policy that answers. Safe for many threads: its memory only saves work."""

    def __init__(self, policy: Policy, version: int = 0) -> None:
        self.policy = policy
        self.version = version
        """The stored policy's number; 0 is the one that Tiercel ships."""
        self._rules = tuple(_compiled_rules(policy))
        self._index = _Index(policy)
        matrix = policy.matrix
        self._scoring = None if matrix is None else Scoring(matrix)
        self._scored = None if matrix is None else _Test(matrix.when)
        self._otherwise = _Rule(
            policy.otherwise.name, _Test(When()), (), _LANES[policy.otherwise.lane], policy.otherwise.priority
        )
        self._sorts: dict[tuple[str, str, str, str], _Sort] = {}
        self._told = f"policy {version}" if version else "the shipped policy"

    def decide(self, incoming: Incoming, *, kind: str = "", at: float | None = None) -> Decision:
        """Return where an event goes; ``at`` is now in Unix seconds, None where urgency shall not count."""
        sort = self._sort(incoming, kind)
        body = incoming.payload
        data = resolve(body, incoming.data_pointer) if incoming.data_pointer else body
        rule = self._otherwise
        for candidate in sort.rules:
            for holds in candidate.conditions:
                if not holds(data, body):
                    break
            else:
                rule = candidate
                break
        return self._decision(rule, self._parts(sort, data, body, at))

    def explain(self, incoming: Incoming, *, kind: str, at: float | None) -> Explanation:
        """Return the same decision and everything that led to it."""
        decision = self.decide(incoming, kind=kind, at=at)
        facts = _facts(incoming, kind)
        body = incoming.payload
        data = resolve(body, incoming.data_pointer)
        tried = []
        for rule in self._rules:
            missed = rule.test.missed(facts) or rule.test.missed_condition(data, body)
            tried.append(Tried(rule.name, missed))
            if missed is None:
                break
        parts = self._parts(self._sort(incoming, kind), data, body, at)
        return Explanation(decision, self.version, parts, tuple(tried))

    def forget(self) -> None:
        """Forget which rules concern which sorts of events; they are found anew."""
        self._sorts = {}

    def _parts(self, sort: _Sort, data: JsonValue, body: JsonValue, at: float | None) -> tuple[ScorePart, ...]:
        if not sort.scored or self._scoring is None or self._scored is None:
            return ()
        for holds in self._scored.conditions:
            if not holds(data, body):
                return ()
        return self._scoring.parts(sort.facts.type, data, body, at)

    def _decision(self, rule: _Rule, parts: tuple[ScorePart, ...]) -> Decision:
        scored = score(parts) if parts else None
        if scored is None or self._scoring is None:
            lane, priority = rule.lane, rule.priority
            reasons: tuple[str, ...] = (rule.name, self._told)
        else:
            threshold = self._scoring.threshold(scored)
            # Where no rule matched, the matrix goes before `otherwise`.
            open_rule = rule is self._otherwise
            lane = None if open_rule else rule.lane
            priority = None if open_rule else rule.priority
            lane, priority, used = _filled(lane, priority, threshold)
            reasons = (rule.name, told(scored, parts), *used, self._told)
        return Decision(
            lane=lane if lane is not None else self._otherwise.lane or Lane.MEDIUM,
            priority=priority if priority is not None else self._otherwise.priority or 0,
            reasons=reasons,
            score=scored,
            rule=rule.name,
        )

    def _sort(self, incoming: Incoming, kind: str) -> _Sort:
        key = (incoming.source, kind, incoming.type, incoming.entity_type)
        known = self._sorts.get(key)
        if known is not None:
            return known
        facts = _facts(incoming, kind)
        rules: list[_Rule] = []
        for number in self._index.rules(facts):
            rule = self._rules[number]
            if rule.test.concerns(facts):
                rules.append(rule)
                if not rule.conditions:
                    break
        made = _Sort(facts, tuple(rules), self._scored is not None and self._scored.concerns(facts))
        if len(self._sorts) >= _REMEMBERED:
            # A sender that invents types must not fill the memory.
            self.forget()
        self._sorts[key] = made
        return made


def _filled(lane: Lane | None, priority: int | None, threshold: Threshold) -> tuple[Lane, int, tuple[str, ...]]:
    given = []
    if lane is None:
        lane = _LANES[threshold.lane]
        given.append(f"lane {threshold.lane.value}")
    if priority is None:
        priority = threshold.priority
        given.append(f"priority {priority}")
    used = (f"a score of {threshold.score} and more: {', '.join(given)}",) if given else ()
    return lane, priority, used


def _compiled_rules(policy: Policy) -> list[_Rule]:
    made = []
    for rule in policy.rules:
        test = _Test(rule.when)
        lane = None if rule.lane is None else _LANES[rule.lane]
        made.append(_Rule(rule.name, test, test.conditions, lane, rule.priority))
    return made


def _facts(incoming: Incoming, kind: str) -> _Facts:
    event_type = incoming.type.lower()
    verb = event_type.rpartition(".")[2]
    return _Facts(incoming.source.lower(), kind.lower(), event_type, incoming.entity_type.lower(), verb)


class _Index:
    """Which rules can concern an event, by its entity type, type or verb: the others aren't even looked at."""

    def __init__(self, policy: Policy) -> None:
        self._entity_types: dict[str, list[int]] = {}
        self._nouns: dict[str, list[int]] = {}
        self._verbs: dict[str, list[int]] = {}
        self._rest: list[int] = []
        for number, rule in enumerate(policy.rules):
            when = rule.when
            nouns = None if when.type is None else tuple(pattern.partition(".")[0] for pattern in when.type)
            ways = ((self._entity_types, when.entity_type), (self._nouns, nouns), (self._verbs, when.verb))
            for index, names in ways:
                if names and all(map(is_literal, names)):
                    for name in {name.lower() for name in names}:
                        index.setdefault(name, []).append(number)
                    break
            else:
                self._rest.append(number)

    def rules(self, facts: _Facts) -> list[int]:
        by_entity_type = self._entity_types.get(facts.entity_type, ())
        by_noun = self._nouns.get(facts.type.partition(".")[0], ())
        return sorted([*by_entity_type, *by_noun, *self._verbs.get(facts.verb, ()), *self._rest])
