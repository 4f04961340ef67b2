"""Owns filling a peer's queue: `python -m bench.peers.fill NAME COUNT`, in a process of its own.

Prints how many entities the events are about.
"""

import importlib
import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

from app.sources.kinds.kind import Config
from bench.harness.events import Stream
from bench.harness.target import Sender
from bench.peers.door import SECRET

_BATCH = 1000


def main(name: str, count: int) -> None:
    """Put so many events of the mix into a peer's queue."""
    peer: Any = importlib.import_module(f"bench.peers.{name}")
    entities: set[tuple[str, str]] = set()
    bodies = _bodies(count, entities)
    if name == "on_procrastinate":
        with peer.app.open():
            while batch := list(islice(bodies, _BATCH)):
                peer.apply_event.batch_defer(*({"body": body} for body in batch))
    else:
        send = peer.apply_event.send if name == "on_dramatiq" else peer.apply_event.delay
        for body in bodies:
            send(body)
    sys.stdout.write(f"{len(entities)}\n")


def _bodies(count: int, entities: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    for _, event_type, raw in Stream(Sender("bench", "standard", SECRET, Config())).bodies(count):
        body: dict[str, Any] = json.loads(raw)
        entities.add((event_type, body["data"]["id"]))
        yield body


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
