"""Owns the load of `make bench`: many requests in flight from one thread, at a steady rate or as fast as they go.

As light as Python allows, since it shares the machine with what it measures: one selector, keep-alive connections, no
thread. At a steady rate (open loop) a request leaves when it is due, however slow the answers are; where every
connection is still waiting, its lateness counts.
"""

import contextlib
import selectors
import socket
import time
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

CONNECTIONS = 64
_ACCEPTED = 202
_LAST_ANSWER_S = 15.0
_RECV_BYTES = 65_536


@dataclass(slots=True)
class Load:
    """What is to be sent, and what has come of it so far; another thread may read the counts meanwhile."""

    host: str
    port: int
    requests: Iterator[bytes]
    seconds: float
    rate: float | None = None
    """Requests a second; None is as fast as they are answered."""
    connections: int = CONNECTIONS
    began: float = 0.0
    sent: int = 0
    accepted: int = 0
    refused: int = 0
    """Answered otherwise, or not at all."""
    took_s: "array[float]" = field(default_factory=lambda: array("d"))
    """From each request's first byte to its answer's last."""
    due_s: "array[float]" = field(default_factory=lambda: array("d"))
    """The same from when it was due."""
    lasted_s: float = 0.0
    cpu_s: float = 0.0
    """Processor time of this thread meanwhile."""

    def due(self) -> int:
        """Return how many requests should have left by now."""
        if self.rate is None or not self.began:
            return self.sent
        return int(min(time.monotonic() - self.began, self.seconds) * self.rate)

    @property
    def answered(self) -> int:
        """How many have an answer."""
        return self.accepted + self.refused

    @property
    def per_s(self) -> float:
        """Accepted requests a second."""
        return self.accepted / self.lasted_s if self.lasted_s else 0.0


class _Wire:
    """One connection and the answer that it waits for."""

    def __init__(self, host: str, port: int) -> None:
        self._at = (host, port)
        self.due = self.sent_at = 0.0
        self._got = b""
        self.socket = self._connect()

    def _connect(self) -> socket.socket:
        made = socket.create_connection(self._at, _LAST_ANSWER_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def send(self, request: bytes, due: float) -> None:
        self.due, self.sent_at, self._got = due, time.monotonic(), b""
        self.socket.sendall(request)

    def read(self) -> int | None:
        """Return the answer's status once it is whole.

        Raises:
            OSError, ValueError: the connection ended, or the answer isn't HTTP/1.1's.
        """
        more = self.socket.recv(_RECV_BYTES)
        if not more:
            raise ConnectionResetError
        self._got += more
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self._got[:end].lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]) if b"content-length:" in head else 0
        if len(self._got) < end + 4 + length:
            return None
        self.closing = b"connection: close" in head
        return int(head[9:12])

    def renew(self, selector: selectors.BaseSelector) -> None:
        self.close(selector)
        self.socket = self._connect()
        selector.register(self.socket, selectors.EVENT_READ, self)

    def close(self, selector: selectors.BaseSelector) -> None:
        selector.unregister(self.socket)
        with contextlib.suppress(OSError):
            self.socket.close()


def run(load: Load) -> Load:
    """Send all of it and wait for the answers; returns the load with its counts.

    Raises:
        OSError: nobody listens there.
    """
    cpu_before = time.thread_time()
    with selectors.DefaultSelector() as selector:
        wires = [_Wire(load.host, load.port) for _ in range(load.connections)]
        for wire in wires:
            selector.register(wire.socket, selectors.EVENT_READ, wire)
        try:
            _send(load, selector, deque(wires))
        finally:
            for wire in wires:
                wire.close(selector)
    load.cpu_s = time.thread_time() - cpu_before
    return load


def _send(load: Load, selector: selectors.BaseSelector, idle: deque[_Wire]) -> None:
    count, more = len(idle), True
    load.began = time.monotonic()
    end = load.began + load.seconds
    while True:
        now = time.monotonic()
        more = more and now < end
        while more and idle and (load.rate is None or load.began + load.sent / load.rate <= now):
            request = next(load.requests, None)
            if request is None:
                more = False
                break
            wire = idle.popleft()
            try:
                wire.send(request, now if load.rate is None else load.began + load.sent / load.rate)
            except OSError:
                load.refused += 1
                wire.renew(selector)
                idle.append(wire)
            load.sent += 1
        if not more and (len(idle) == count or now > end + _LAST_ANSWER_S):
            break
        wait_s = 0.05
        if more and idle and load.rate is not None:
            wait_s = max(0.0, load.began + load.sent / load.rate - now)
        for key, _ in selector.select(min(wait_s, 0.05)):
            _read(load, selector, key.data, idle)
    load.refused += count - len(idle)
    load.lasted_s = time.monotonic() - load.began


def _read(load: Load, selector: selectors.BaseSelector, wire: _Wire, idle: deque[_Wire]) -> None:
    try:
        status = wire.read()
    except (OSError, ValueError):
        status, wire.closing = 0, True
    if status is None:
        return
    now = time.monotonic()
    if status == _ACCEPTED:
        load.accepted += 1
        load.took_s.append(now - wire.sent_at)
        load.due_s.append(now - wire.due)
    else:
        load.refused += 1
    if wire.closing:
        wire.renew(selector)
    idle.append(wire)
