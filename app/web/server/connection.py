"""Owns one connection of a sender: what has come of its next request, and whether that is all of it."""

import re
import socket
from typing import Any

from gunicorn.http.message import Request
from gunicorn.workers.gthread import TConn

SMALL = 16_384
"""Bytes of a request that is served in the loop: some milliseconds' work at the most, and others wait for it."""
_HEAD = 8_192
WHOLE_S = 5.0
"""By then it has to be there as a whole; nothing but its connection waits for it."""
LINGER_S, DRAINED = 2.0, 65_536
"""How long, and for how many bytes, a connection with its last answer on the way waits for its sender's end."""
_DOOR = b"POST /webhooks/"
_LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d{1,5})[ \t]*\r\n")
_OTHERWISE = re.compile(rb"(?i)\r\n(?:(?:transfer-encoding|upgrade)[ \t]*:|expect[ \t]*:[ \t]*[^ \t\r])")
"""Its body comes otherwise, or later."""


def lacks(data: bytes) -> int | None:
    """Return how many bytes a small webhook request lacks at the least; None where it is none, or not small.

    Whether it is a request at all is the parser's to say.
    """
    if not data.startswith(_DOOR[: len(data)]):
        return None
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return 1 if len(head) < _HEAD else None
    length = _LENGTH.search(head + b"\r\n")
    if length is None or len(head) > _HEAD or _OTHERWISE.search(head):
        return None
    size = int(length[1])
    return max(0, size - len(body)) if len(head) + 4 + size <= SMALL else None


class _Message(Request):  # type: ignore[misc]  # gunicorn has no types
    """A request, for which an empty ``Expect`` expects nothing; gunicorn's answers 417."""

    def _apply_header_policy(self, name: str, value: str, *more: Any, **options: Any) -> tuple[str, str] | None:
        if name == "EXPECT" and not value:
            return None
        kept: tuple[str, str] | None = super()._apply_header_policy(name, value, *more, **options)
        return kept


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection, and what has come of its next request."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self.data_ready = True  # it is only ever read when there is something
        self.held = bytearray()
        self.lacks = 0
        """How many bytes are missing at the least."""
        self.is_closing = False
        self.drained = 0

    def init(self) -> None:
        """Be ready to read requests."""
        super().init()
        if getattr(self.parser, "mesg_class", None) is Request:  # HTTP/1.1
            self.parser.mesg_class = _Message

    def take_held(self) -> bytes:
        """Return what has come, and hold it no longer."""
        held, self.held, self.lacks = bytes(self.held), bytearray(), 0
        return held

    def is_over(self, now: float, stopping: bool) -> bool:
        """Tell whether it has waited for long enough; where it stops, who has begun nothing has."""
        if not self.held or self.is_closing:
            return stopping or self.timeout <= now
        if self.timeout > now:
            return False
        return not self.has_come()  # the rest may be there, and the loop busy

    def has_come(self) -> bool:
        """Tell whether its sender has said something that nobody has read."""
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False
