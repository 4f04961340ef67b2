"""Owns open-loop load: ready-made requests that leave when they are due, however slow the answers are.

Light on purpose, since it shares the machine with what it measures: raw keep-alive sockets in a few threads.
"""

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

THREADS = 8
_TIMEOUT_S = 10.0
_RECV_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Shot:
    """One answer."""

    status: int
    """0: no answer came."""
    body: bytes
    late_s: float
    """How long after it was due the request left."""
    took_s: float
    """From the request's first byte to the answer's last."""


def request_bytes(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return a whole POST request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: tiercel", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def fire(host: str, port: int, requests: Sequence[bytes], rate: float) -> list[Shot]:
    """Send the requests, ``rate`` a second, and return the answers in their order."""
    shots = [Shot(0, b"", 0.0, 0.0)] * len(requests)
    began = time.monotonic() + 0.1

    def run(first: int) -> None:
        connection: socket.socket | None = None
        for index in range(first, len(requests), THREADS):
            due = began + index / rate
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            sent_at = time.monotonic()
            try:
                if connection is None:
                    connection = socket.create_connection((host, port), _TIMEOUT_S)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(requests[index])
                status, body, keep = _read(connection)
            except (OSError, ValueError):
                status, body, keep = 0, b"", False
            shots[index] = Shot(status, body, sent_at - due, time.monotonic() - sent_at)
            if not keep and connection is not None:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    threads = [threading.Thread(target=run, args=(first,), daemon=True) for first in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return shots


def _read(connection: socket.socket) -> tuple[int, bytes, bool]:
    """Return status, body and whether the connection stays open; the answer has a Content-Length.

    Raises:
        OSError, ValueError: no answer, or not one of HTTP/1.1.
    """
    got = b""
    while (end := got.find(b"\r\n\r\n")) < 0:
        more = connection.recv(_RECV_BYTES)
        if not more:
            raise ConnectionResetError
        got += more
    head = got[:end].lower()
    status = int(head[9:12])
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]) if b"content-length:" in head else 0
    body = got[end + 4 :]
    while len(body) < length:
        more = connection.recv(_RECV_BYTES)
        if not more:
            raise ConnectionResetError
        body += more
    return status, body, b"connection: close" not in head
