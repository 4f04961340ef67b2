"""Owns ``python -m bench.measure.kinds``: what verifying and normalising 10 KB costs, for each kind. Needs nothing.

The bodies look like real ones: a product with many variants, not one long text. Ends 1 where a kind costs too much.
"""

import argparse
import base64
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.cli import bodies
from app.cli.bodies import Example
from app.events.canonical_json import dump, parse_object
from app.sources.kinds import KINDS, Kind, Request
from app.sources.kinds.kind import Outgoing
from app.sources.kinds.read import read
from bench.harness.target import new_secret

_BYTES = 10_000
_AT = 1_794_000_000.0
_LIMIT_US, _LIMIT_RSA_US = 300.0, 500.0
_KEY_PATH = "/prod/keys/pub-key-bench.pem"
_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in KINDS},
    "hmac, GitHub": ("hmac", {"vendor": "github"}),
    "hmac, Stripe": ("hmac", {"vendor": "stripe"}),
    "hmac, WooCommerce": ("hmac", {"vendor": "woocommerce"}),
    "cloudevents, hmac": ("cloudevents", {"auth": "hmac"}),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One event to verify and normalise."""

    kind: Kind
    config: Any
    secret: str
    request: Request
    limit_us: float = _LIMIT_US

    def run(self) -> None:
        """Do what the receiver does with it."""
        self.kind.verify(self.request, [self.secret], self.config)
        read(self.kind, self.request, [self.secret], self.config, "bench").events[0]


def _variant(number: int) -> dict[str, Any]:
    at = f"2026-11-06T21:{number % 60:02d}:00-05:00"
    return {
        "id": 642667041472713922 + number,
        "title": f"Size {number}",
        "price": "19.99",
        "sku": f"S-{number}",
        "at": at,
    }


def _body(kind: str, wanted: Example) -> bytes:
    """Return a kind's body with as many variants in its data as make it 10 KB."""
    made = parse_object(bodies.body(kind, wanted))
    held = next((made[name] for name in ("payload", "data") if isinstance(made.get(name), dict)), made)
    held = next((held[name] for name in ("data", "value") if isinstance(held.get(name), dict)), held)
    held["variants"] = []
    while len(dump(made)) < _BYTES:
        held["variants"].append(_variant(len(held["variants"])))
    return dump(made)


def case(name: str) -> Case:
    """Return an event of a kind as its sender would send it."""
    kind_name, options = _OPTIONS[name]
    kind, secret = KINDS[kind_name], new_secret(kind_name)
    config = kind.config.model_validate(options)
    type_ = bodies.MAKERS[kind_name].default_type
    body = _body(kind_name, Example("key-1", type_, None, 1, _AT, secret, config))
    headers = kind.sign(Outgoing("key-1", type_, body, _AT), secret, config)
    return Case(kind, config, secret, Request({"content-type": "application/json", **headers}, body, _AT))


def rsa_case() -> Case:
    """Return an event under both of Adobe's digital signatures, the first of which doesn't hold."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    made = case("adobe-io")
    signature = base64.b64encode(key.sign(made.request.body, PKCS1v15(), SHA256())).decode()
    wrong = base64.b64encode(key.sign(b"another", PKCS1v15(), SHA256())).decode()
    headers = {
        "x-adobe-digital-signature-1": wrong,
        "x-adobe-digital-signature-2": signature,
        **{f"x-adobe-public-key{n}-path": _KEY_PATH for n in (1, 2)},
    }
    request = Request(headers, made.request.body, _AT, {_KEY_PATH: pem})
    config = made.kind.config.model_validate({"client_id": "example-client"})
    return Case(made.kind, config, made.secret, request, _LIMIT_RSA_US)


def ed25519_case() -> Case:
    """Return a Standard Webhooks event under a v1a signature."""
    made = case("standard")
    secret = "whsk_" + base64.b64encode(bytes(range(32))).decode()
    headers = made.kind.sign(Outgoing("key-1", "price.updated", made.request.body, _AT), secret, made.config)
    return Case(made.kind, made.config, secret, Request(headers, made.request.body, _AT))


def measure_us(run: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Return the median and the 95th percentile of a call, in microseconds of CPU: neighbours don't count."""
    took = []
    for _ in range(rounds):
        began = time.thread_time_ns()
        run()
        took.append((time.thread_time_ns() - began) / 1000)
    return statistics.median(took), statistics.quantiles(took, n=20)[-1]


def main() -> int:
    """Print each kind's cost."""
    parser = argparse.ArgumentParser(prog="python -m bench.measure.kinds", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3000, help="How often each is done.")
    rounds = parser.parse_args().rounds
    cases = {name: case(name) for name in _OPTIONS}
    cases |= {"standard, v1a": ed25519_case(), "adobe-io, RSA twice": rsa_case()}
    dear = []
    print(f"{'kind':<22}{'bytes':>7}{'p50 µs':>9}{'p95 µs':>9}{'limit':>8}")
    for name, one in cases.items():
        one.run()
        p50, p95 = measure_us(one.run, rounds)
        print(f"{name:<22}{len(one.request.body):>7}{p50:>9.0f}{p95:>9.0f}{one.limit_us:>8.0f}")
        if p50 > one.limit_us:
            dear.append(name)
    if dear:
        print(f"too dear: {', '.join(dear)}", file=sys.stderr)
    return 1 if dear else 0


if __name__ == "__main__":
    sys.exit(main())
