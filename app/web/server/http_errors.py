"""Errors that a request meets before the application: what isn't HTTP, or is more of it than we take.

gunicorn finds them and would answer in HTML; ``answer`` gives them the form of every other error.
"""

import socket
from http import HTTPStatus

from gunicorn import util

from app.errors import Rejected

_MOST_DETAIL = 300


class RequestMalformed(Rejected):
    """The request isn't HTTP as RFC 9112 has it."""


class RequestLineTooLong(Rejected):
    """The request line is longer than this receiver takes."""


class HeadersTooLarge(Rejected):
    """The headers are more, or longer, than this receiver takes."""


class ExpectationUnsupported(Rejected):
    """The only expectation that can be met is 100-continue."""


class TransferCodingUnsupported(Rejected):
    """The only transfer coding that is taken is chunked."""


_BY_STATUS: dict[int, type[Rejected]] = {
    414: RequestLineTooLong,
    417: ExpectationUnsupported,
    431: HeadersTooLarge,
    501: TransferCodingUnsupported,
}


class Answering:
    """Stands in for a connection where gunicorn writes its page about an error, and writes ours."""

    def __init__(self, sock: socket.socket, found: BaseException) -> None:
        self._sock = sock
        self._found = found

    def gettimeout(self) -> float:
        """Be a socket that never waits."""
        return 0.0

    def sendall(self, page: bytes) -> None:
        """Write the answer that has a page's status."""
        util.write_nonblock(self._sock, answer(int(page.split(b" ", 2)[1]), self._found))


def answer(status: int, found: BaseException) -> bytes:
    """Return the whole answer to a request for which gunicorn has this status; the connection closes after it.

    Its detail says what was found, which is the sender's own; of an error of ours it says nothing.
    """
    # All that this loads is only for a process that serves, and that has it already.
    from app.web.problem import problem  # noqa: PLC0415

    kind = _BY_STATUS.get(status, RequestMalformed if status < HTTPStatus.INTERNAL_SERVER_ERROR else None)
    if kind is None:
        response = problem(500, "InternalError", "This is our fault and has been logged.")
    else:
        known = status if status in _BY_STATUS else int(HTTPStatus.BAD_REQUEST)
        response = problem(known, kind.__name__, f"{kind()} {found}"[:_MOST_DETAIL])
    body = response.get_data() + b"\n"
    head = (
        f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}",
        "Connection: close",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(body)}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "\r\n",
    )
    return "\r\n".join(head).encode() + body
