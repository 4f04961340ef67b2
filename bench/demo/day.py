"""Owns the plan of the flash-sale day: what is sent in which order, from a seed alone. Pure."""

import json
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

from bench.demo.message import Fate, Flaw, Message
from bench.demo.shop import CLOCK_AHEAD_S, Shop, Told, elasticpath, standard, to_json

DAY_S = 86_400.0
OUT_OF_ORDER, COPIES, CONFLICTS, FUTURE, FLAWED, TIES = 0.10, 0.05, 0.005, 0.005, 0.02, 0.01
_LATE_PLACES = 300
"""How far out of its order a message comes, in messages."""
_HUGE_AT_MOST = 4


def plan(seed: int, count: int, now: float, max_body_bytes: int, *, future: float = FUTURE) -> list[Message]:
    """Return ``count`` events of the day that ends ``now`` (Unix seconds) and what comes with them, as sent."""
    dice = Random(seed)
    day = _Day(dice, now, max_body_bytes)
    events = list(day.events(count))
    others = [*day.ties(events), *day.deleted_first(), *day.future(round(count * future), count)]
    late = [
        replace(message, place=message.place + dice.uniform(1, _LATE_PLACES))
        if dice.random() < OUT_OF_ORDER
        else message
        for message in events
    ]
    sound = [*late, *others]
    copies = [day.copy(dice.choice(sound)) for _ in range(round(count * COPIES))]
    # Each of another event: the same content twice under one key is one conflict.
    conflicts = [day.conflict(message) for message in dice.sample(late, round(count * CONFLICTS))]
    return sorted([*sound, *copies, *conflicts, *day.flawed(late, count)], key=lambda message: message.place)


class _Day:
    def __init__(self, dice: Random, now: float, max_body_bytes: int) -> None:
        self.dice = dice
        self.now = now
        self.max_body_bytes = max_body_bytes
        self.shop = Shop(dice)
        self.sent = 0

    def message(self, told: Told, place: float) -> Message:
        role, event_type, body = told
        external_id = f"msg_{self.dice.getrandbits(96):024x}"
        if role == "catalogue":
            body = {"id": external_id, **body}
        return Message(role, external_id, event_type, to_json(body), place)

    def events(self, count: int) -> Iterator[Message]:
        weights = self.shop.weights()
        kinds = self.dice.choices(list(weights), list(weights.values()), k=count)
        for place, kind in enumerate(kinds):
            # The last minute of the day is still to come in the sending, but no version may lie ahead of its arrival.
            yield self.message(kind(self.now - DAY_S + (DAY_S - 60) * place / count), place)

    def ties(self, events: list[Message]) -> Iterator[Message]:
        """Two different states of one version: the rule must decide, not the arrival."""
        tied = [message for message in events if message.type == "price.updated" and self.dice.random() < TIES * 3]
        for message in tied:
            data = _data(message)
            del data["updated_at"]
            at = self.dice.choice(("price.updated", "price.deleted"))
            role, event_type, body = standard(at, 0, {**data, "amount": "9.99"})
            body["data"]["updated_at"] = _data(message)["updated_at"]
            yield self.message((role, event_type, body), message.place + self.dice.uniform(-3, 3))

    def deleted_first(self) -> Iterator[Message]:
        """A product's delete comes before its saves, some of them from a clock that runs ahead of ours."""
        for number in range(12):
            name, place = f"gone-{number}", self.dice.uniform(0, 200)
            yield self.message(elasticpath("product.deleted", None, name, {}), place)
            for late in range(3):
                at = self.now - 3_600 if late == 0 else self.now + CLOCK_AHEAD_S * self.dice.uniform(0.8, 1)
                saved = elasticpath("product.updated", at, name, {"name": "A save of old", "stock": late})
                yield self.message(saved, place + self.dice.uniform(-1, 40) * late / 2)

    def future(self, wanted: int, count: int) -> Iterator[Message]:
        for _ in range(wanted):
            at = self.now + self.dice.uniform(1, 30) * DAY_S
            yield replace(self.message(self.shop.price(at), self.dice.uniform(0, count)), future=True)

    def copy(self, message: Message) -> Message:
        """The same event again: soon (it may even win the race) or late.

        The catalogue counts its attempts in the body; the CRM may give a copy a delivery id of its own.
        """
        place = message.place + self.dice.choice((self.dice.uniform(0, 2), self.dice.uniform(2, _LATE_PLACES)))
        body = message.body.replace(b'"attempt":1', b'"attempt":2') if message.role == "catalogue" else message.body
        key = f"msg_{self.dice.getrandbits(96):024x}" if message.role == "crm" else message.external_id
        return replace(message, external_id=key, body=body, place=place, fate=Fate.COPY)

    def conflict(self, message: Message) -> Message:
        """Another content under the same key; the CRM's keys are unsigned, so there it is only another event."""
        if message.role != "shop":
            return self.copy(message)
        body = message.body.replace(b'"data":{', b'"data":{"edited":true,', 1)
        return replace(message, body=body, place=message.place + self.dice.uniform(5, 100), fate=Fate.CONFLICT)

    def flawed(self, events: list[Message], count: int) -> Iterator[Message]:
        flaws = list(Flaw)
        huge = 0
        for number in range(max(round(count * FLAWED), len(flaws))):
            flaw = flaws[number % len(flaws)]
            huge += flaw is Flaw.HUGE
            if flaw is Flaw.HUGE and huge > _HUGE_AT_MOST:
                flaw = Flaw.FORGED
            yield self._flawed(self.dice.choice(events), flaw, self.dice.uniform(0, count))

    def _flawed(self, like: Message, flaw: Flaw, place: float) -> Message:
        if flaw is Flaw.REPLAYED:
            like = self.message(self.shop.price(self.now - DAY_S), place)
        body = like.body
        if flaw is Flaw.TRUNCATED:
            body = body[: len(body) // 2]
        elif flaw is Flaw.NAMELESS:
            body = to_json({"type": "price.updated", "data": {"amount": "1.00"}})
            like = replace(like, role="shop", type="price.updated")
        elif flaw is Flaw.HUGE:
            body = body[:-1] + b',"padding":"' + b"x" * self.max_body_bytes + b'"}'
        elif flaw is Flaw.FORGED:
            body = body.replace(b'"data":', b'"forged":true,"data":', 1)
        external_id = f"msg_{self.dice.getrandbits(96):024x}"
        return replace(like, external_id=external_id, body=body, place=place, fate=Fate.REFUSED, flaw=flaw)


def _data(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message.body)["data"]
    return found
