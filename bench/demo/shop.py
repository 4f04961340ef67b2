"""Owns the demo's three senders' bodies: what a shop, its catalogue (Elastic Path) and its CRM say of a sale. Pure."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

CURRENCIES = ("EUR", "USD", "GBP", "CHF", "SEK", "PLN")
WANTED: dict[str, tuple[str, dict[str, Any]]] = {
    "shop": ("standard", {}),
    "catalogue": ("elasticpath", {}),
    "crm": (
        "hmac",
        {
            "key_header": "x-delivery-id",
            "version_pointer": "/revision",
            "version_clock": "counter",
            "data_pointer": "/data",
        },
    ),
}
"""The kind and options of each sender's source."""
CLOCK_AHEAD_S = 90.0
"""How far the catalogue's clock may run ahead of ours: less than the skew that is allowed."""

Told = tuple[str, str, dict[str, Any]]
"""Role, event type, body."""


def text(at: float) -> str:
    """Return a Unix time as RFC 3339 with microseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_json(body: dict[str, Any]) -> bytes:
    """Return a body as its sender writes it: compact, in the order of its making."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def standard(event_type: str, at: float, data: dict[str, Any]) -> Told:
    """Return what the shop says in Standard Webhooks' form, versioned by ``data.updated_at``."""
    return "shop", event_type, {"type": event_type, "timestamp": text(at), "data": {**data, "updated_at": text(at)}}


def elasticpath(event_type: str, at: float | None, entity_id: str, attributes: dict[str, Any]) -> Told:
    """Return an Elastic Path integration's envelope; without ``at``, as its deletes come, it has no version."""
    entity: dict[str, Any] = {"id": entity_id, "type": event_type.partition(".")[0], **attributes}
    if at is not None:
        entity["meta"] = {"timestamps": {"updated_at": text(at)}}
    payload = {"data": entity} if at is not None else entity
    return "catalogue", event_type, {"triggered_by": event_type, "attempt": 1, "payload": payload}


def counted(event_type: str, revision: int | None, data: dict[str, Any]) -> Told:
    """Return what the CRM says: versions are its own counter."""
    return "crm", event_type, {"type": event_type, "revision": revision, "data": data}


@dataclass
class Shop:
    """The people and things that make events; every number comes from ``dice``."""

    dice: Random
    revisions: dict[str, int] = field(default_factory=dict)
    members: dict[str, int] = field(default_factory=dict)
    made: int = 0

    def number(self) -> int:
        """Return a new number, for ids."""
        self.made += 1
        return self.made

    def price(self, at: float) -> Told:
        """A price is changed, for the sale."""
        full = self.dice.randrange(999, 29_900, 100)
        amount = round(full * self.dice.choice((0.5, 0.6, 0.7, 0.8)))
        data = {"id": f"sku/{self.dice.randrange(60)}", "currency": "EUR", "amount": f"{amount / 100:.2f}"}
        return standard("price.updated", at, {**data, "compare_at": f"{full / 100:.2f}"})

    def price_gone(self, at: float) -> Told:
        """A price is deleted; a newer save brings it back."""
        return standard("price.deleted", at, {"id": f"sku/{self.dice.randrange(60)}"})

    def promotion(self, at: float) -> Told:
        """A promotion is made, changed or ended."""
        verb = self.dice.choices(("created", "updated", "deleted"), (3, 6, 1))[0]
        data = {"id": f"promo-{self.dice.randrange(24)}"}
        if verb != "deleted":
            data |= {"name": "Flash sale", "code": f"FLASH{self.dice.randrange(100)}"}
            data |= {"percent_off": str(self.dice.randrange(5, 60, 5)), "starts_at": text(at + 60)}
        return standard(f"promotion.{verb}", at, data)

    def campaign(self, at: float) -> Told:
        """A campaign is changed, or triggered: that is a fact as well."""
        verb = self.dice.choice(("updated", "updated", "triggered"))
        data = {"id": f"campaign-{self.dice.randrange(10)}", "name": "Countdown", "status": "running"}
        return standard(
            f"campaign.{verb}", at, {**data, "budget": str(self.dice.randrange(1000, 9000)), "currency": "EUR"}
        )

    def lead(self, at: float) -> Told:
        """Somebody leaves an address."""
        number = self.number()
        data = {"id": f"lead-{number}", "email": f"buyer{number}@example.com", "campaign": "campaign-1"}
        return standard("lead.captured", at, data)

    def order(self, at: float) -> Told:
        """An order is paid: a fact."""
        total = f"{self.dice.randrange(1000, 90_000) / 100:.2f}"
        return standard("order.paid", at, {"id": f"order-{self.number()}", "total": total, "currency": "EUR"})

    def log(self, at: float) -> Told:
        """The shop logs a page view."""
        data = {
            "id": f"log-{self.number()}",
            "path": f"/sale/{self.dice.randrange(400)}",
            "ms": self.dice.randrange(900),
        }
        return standard("log.recorded", at, data)

    def currency(self, at: float) -> Told:
        """An exchange rate changes."""
        code = self.dice.choice(CURRENCIES)
        rate = round(self.dice.uniform(0.8, 4.5), 4)
        return elasticpath(
            "currency.updated", at, f"cur-{code}", {"code": code, "exchange_rate": rate, "enabled": True}
        )

    def product(self, at: float) -> Told:
        """A product is changed; some are deleted for ever, without a version."""
        number = self.dice.randrange(60)
        if self.dice.random() < 0.06:  # noqa: PLR2004
            return elasticpath("product.deleted", None, f"prod-{number}", {})
        data = {"name": f"Jacket {number}", "stock": self.dice.randrange(500)}
        return elasticpath("product.updated", at, f"prod-{number}", data)

    def segment(self, _at: float) -> Told:
        """A customer group is counted again; often nothing has changed but its revision."""
        name = f"segment-{self.dice.randrange(15)}"
        self.revisions[name] = self.revisions.get(name, 0) + 1
        if name not in self.members or self.dice.random() < 0.5:  # noqa: PLR2004
            self.members[name] = self.dice.randrange(90_000)
        data = {"id": name, "name": name.title(), "members": self.members[name], "definition": "cart > 100"}
        return counted("segment.updated", self.revisions[name], data)

    def view(self, _at: float) -> Told:
        """The CRM counts a view."""
        return counted("analytics.recorded", None, {"id": f"view-{self.number()}", "n": self.dice.randrange(50)})

    def weights(self) -> dict[Callable[[float], Told], int]:
        """Return how often each happens, in percent."""
        return {
            self.price: 13,
            self.price_gone: 1,
            self.promotion: 4,
            self.campaign: 3,
            self.lead: 7,
            self.order: 7,
            self.log: 34,
            self.currency: 4,
            self.product: 9,
            self.segment: 6,
            self.view: 12,
        }
