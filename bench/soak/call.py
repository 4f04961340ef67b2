"""Owns one request as bytes on a connection of its own, so that it may break any rule of HTTP, and its answer."""

import socket
from dataclasses import dataclass

_TIMEOUT_S = 15.0
_RECV_BYTES = 65_536

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    mutation: str
    """What was done to it, for the table."""
    verified: bool
    """Whether its signature is right: only then may anything of its body be kept."""
    path: bytes
    body: bytes = b""
    headers: Headers = ()
    method: bytes = b"POST"
    version: bytes = b"HTTP/1.1"
    framing: Headers | None = None
    """Instead of the right Content-Length."""

    def to_bytes(self) -> bytes:
        """Return the request as it goes over the wire."""
        framing = self.framing
        if framing is None:
            framing = ((b"Host", b"tiercel"), (b"Connection", b"close"), (b"Content-Length", b"%d" % len(self.body)))
        lines = [b" ".join((self.method, self.path, self.version))]
        lines += [b": ".join(pair) for pair in (*framing, *self.headers)]
        return b"\r\n".join([*lines, b"", b""]) + self.body


@dataclass(frozen=True, slots=True)
class Said:
    """What came back."""

    status: int | None
    """None: the connection was closed without an answer, or nothing came in time."""
    raw: bytes
    timed_out: bool = False


def call(host: str, port: int, one: Call) -> Said:
    """Send a request on a new connection, end our side of it, and read all that comes back."""
    got = b""
    timed_out = False
    try:
        with socket.create_connection((host, port), _TIMEOUT_S) as connection:
            try:
                connection.sendall(one.to_bytes())
                connection.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was through: the answer may stand there already
            while more := connection.recv(_RECV_BYTES):
                got += more
    except TimeoutError:
        timed_out = True
    except OSError:
        pass  # a reset after the answer is what closing on an unread body looks like
    return Said(_status(got), got, timed_out)


def _status(raw: bytes) -> int | None:
    while raw.startswith(b"HTTP/1.1 100"):
        raw = raw.partition(b"\r\n\r\n")[2]
    digits = raw[9:12]
    return int(digits) if raw.startswith(b"HTTP/1.") and digits.isdigit() else None
