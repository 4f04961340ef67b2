"""Owns the events that `make bench` sends: one mix for everybody who is measured, signed as Standard Webhooks.

Ten percent prices (high), thirty segments (medium), sixty logs (low). A price or segment is one of ENTITIES, so most
of them are updates; each log is a thing of its own.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from bench.harness.load import request_bytes
from bench.harness.target import Sender
from bench.measure.latency import MIX, event_body

ENTITIES = 1000


@dataclass(slots=True)
class Stream:
    """Events of one sender; each run goes on where the one before ended, so that no key comes twice."""

    sender: Sender
    mix: tuple[int, ...] = tuple(MIX.values())
    """High, medium and low, in percent."""
    made: int = 0
    logs_together: int = 1
    """Logs in a request, as NDJSON; 1 sends each by itself, like prices and segments."""

    def bodies(self, count: int) -> Iterator[tuple[str, str, bytes]]:
        """Yield id, type and body of so many events, each newer than the one before."""
        dice = Random(self.made)
        types = dice.choices(list(MIX), self.mix, k=count)
        for event_type in types:
            self.made += 1
            number = self.made
            entity_id = f"{number}" if event_type == "log.recorded" else f"{dice.randrange(ENTITIES)}"
            data = {"id": entity_id, "amount": "19.90", "currency": "EUR", "name": "bench", "members": number}
            yield f"bench-{number}", event_type, event_body(event_type, time.time(), data)

    def requests(self, count: int) -> Iterator[bytes]:
        """Yield so many events as signed requests over the wire, made one by one as they are asked for."""
        logs: list[bytes] = []
        for external_id, event_type, body in self.bodies(count):
            if event_type != "log.recorded" or self.logs_together == 1:
                yield self._request(external_id, event_type, body, "application/json")
                continue
            logs.append(body)
            if len(logs) == self.logs_together:
                yield self._request(f"{external_id}-batch", event_type, b"\n".join(logs), "application/x-ndjson")
                logs.clear()
        if logs:
            yield self._request(f"bench-{self.made}-batch", "log.recorded", b"\n".join(logs), "application/x-ndjson")

    def _request(self, external_id: str, event_type: str, body: bytes, content_type: str) -> bytes:
        headers = self.sender.sign(external_id, event_type, body, time.time())
        return request_bytes(f"/webhooks/{self.sender.name}", body, {"Content-Type": content_type, **headers})

    def ready(self, count: int) -> Iterator[bytes]:
        """Yield so many events' requests, all made before: signing costs the measurement nothing.

        A signature is good for 5 minutes.
        """
        return iter(list(self.requests(count)))
