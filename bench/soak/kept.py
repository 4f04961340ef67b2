"""``python -m bench.soak.kept``: every verified body is answered 2xx and stored, whatever it holds.

Beside a running ``make up``: made-up bodies for every kind and option set, and mutations of every fixture, all rightly
signed. Part of ``make soak``.
"""

import argparse
import json
import secrets
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.markup import escape
from sqlalchemy import text

from app.db.engine import transaction
from bench.harness.target import Answer, NotRunning, Sender, Target, find_target, senders
from bench.soak.made import CONTENT_TYPES, body, mutations
from bench.soak.sound import SOURCES

FIXTURES = Path(__file__).parents[2] / "tests" / "fixtures"
THREADS = 4
_SHOWN = 20
_IDS_AT_ONCE = 1_000
_STORED = text("SELECT count(*) FROM event WHERE id = ANY(CAST(:ids AS uuid[]))")


@dataclass(slots=True)
class Report:
    """What became of a run."""

    seed: int
    sent: int = 0
    events: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """As the answers said."""
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One body to send, with the headers that aren't its signature."""

    sender: Sender
    body: bytes
    headers: dict[str, str]


def kept(target: Target, seed: int, bodies: int, mutated: int) -> Report:
    """Send ``bodies`` made-up bodies to each kind of source and ``mutated`` mutations of each fixture.

    Raises:
        NotRunning: the database or the receiver is gone.
    """
    report = Report(seed)
    fixtures = list(_fixtures())
    wanted = {**SOURCES, **{role: (kind, config) for role, kind, config, _ in fixtures}}
    wanted = {role: (kind, _signable(kind, config)) for role, (kind, config) in wanted.items()}
    with senders(target, wanted) as (made, _):
        every = [
            *(_made_up(made[role], Random(f"{seed} {role}"), bodies) for role in SOURCES),
            *(_mutated(made[role], delivery, Random(f"{seed} {role}"), mutated) for role, _, _, delivery in fixtures),
        ]
        with ThreadPoolExecutor(THREADS) as pool:
            for share in pool.map(lambda own: _send(target, own), (every[n::THREADS] for n in range(THREADS))):
                report.sent += share.sent
                report.events += share.events
                report.outcomes += share.outcomes
                report.failures += share.failures
    return report


def _fixtures() -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    for number, path in enumerate(sorted(FIXTURES.glob("*/*.json"))):
        delivery = json.loads(path.read_text())
        if "body" in delivery and "refused" not in delivery:
            yield f"kept-{number}", path.parent.name, delivery["config"], delivery


def _signable(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return options under which what is made here is verified: it is meant for no one client or shop."""
    named = {"client_id", "shop"} if kind in {"adobe-io", "shopify"} else set()
    return {option: value for option, value in config.items() if option not in named}


def _made_up(sender: Sender, dice: Random, count: int) -> Iterator[Delivery]:
    for _ in range(count):
        yield Delivery(sender, body(dice), {"content-type": dice.choice(CONTENT_TYPES)})


def _mutated(sender: Sender, delivery: dict[str, Any], dice: Random, count: int) -> Iterator[Delivery]:
    told = {name.lower(): value for name, value in delivery["headers"].items() if _says(name.lower())}
    for one in mutations(delivery["body"].encode(), dice, count):
        yield Delivery(sender, one, {"content-type": "application/json", **told})


def _says(header: str) -> bool:
    """Tell whether a header of a fixture says something about the event, rather than signs it."""
    return not any(
        word in header for word in ("signature", "hmac", "secret", "authorization", "webhook-id", "-timestamp")
    )


def _send(target: Target, share: list[Iterator[Delivery]]) -> Report:
    report = Report(0)
    ids: set[str] = set()
    with target.door() as door:
        for deliveries in share:
            for one in deliveries:
                key = f"kept-{uuid.uuid4().hex}"
                signed = one.sender.sign(key, "price.updated", one.body, time.time())
                headers = {
                    **signed,
                    **{name: value for name, value in one.headers.items() if name not in signed or "type" in name},
                }
                answer = door.send("POST", f"/webhooks/{one.sender.name}", one.body, headers)
                report.sent += 1
                _note(report, one, answer, ids)
                if len(ids) >= _IDS_AT_ONCE:
                    _check_stored(target, report, ids)
    _check_stored(target, report, ids)
    return report


def _note(report: Report, one: Delivery, answer: Answer, ids: set[str]) -> None:
    if not 200 <= answer.status < 300:
        report.failures.append(
            f"{answer.status} {answer.title} to {one.sender.kind}: {one.headers} {one.body[:200]!r}"
        )
        return
    told = answer.json()
    events = told.get("events", [told])
    if not events and "batch" not in one.headers["content-type"] and "ndjson" not in one.headers["content-type"]:
        report.failures.append(f"nothing is stored of {one.sender.kind}: {one.headers} {one.body[:200]!r}")
    for event in events:
        report.events += 1
        report.outcomes[event["outcome"] or event["status"]] += 1
        ids.add(event["id"])


def _check_stored(target: Target, report: Report, ids: set[str]) -> None:
    with transaction(target.engine) as session:
        found = session.execute(_STORED, {"ids": sorted(ids)}).scalar_one()
    if found != len(ids):
        report.failures.append(f"{len(ids) - found} of {len(ids)} events that were answered 2xx are not stored")
    ids.clear()


def main() -> int:
    """Send, show, and return the exit status: 1 where something isn't kept."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak.kept", description="Send verified bodies of any content."
    )
    parser.add_argument("--bodies", type=int, default=2_000, help="made-up bodies for each source (%(default)s)")
    parser.add_argument("--mutations", type=int, default=500, help="mutations of each fixture (%(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run's bodies")
    words = parser.parse_args()
    seed = secrets.randbits(32) if words.seed is None else words.seed
    console = Console(width=None if sys.stdout.isatty() else 100)
    began = time.monotonic()
    try:
        report = kept(find_target(), seed, words.bodies, words.mutations)
    except NotRunning as error:
        Console(stderr=True, soft_wrap=True).print(f"soak: {error}", highlight=False, markup=False)
        return 1
    ended = ", ".join(f"{count:,} {name}" for name, count in report.outcomes.most_common())
    took = time.monotonic() - began
    console.print(
        f"{report.sent:,} verified requests, {report.events:,} events in {took:.0f} s, seed {seed}", highlight=False
    )
    console.print(f"as answered: {ended}", highlight=False)
    for failure in report.failures[:_SHOWN]:
        console.print(f"[red]✗ {escape(failure)}[/red]", highlight=False, soft_wrap=True)
    if report.failures:
        console.print(f"[red]{len(report.failures)} failures[/red]", highlight=False)
        return 1
    console.print("[green]✓ every verified request answered 2xx, and every event stored[/green]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
