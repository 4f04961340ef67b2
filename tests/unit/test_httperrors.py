"""What a sender is told where gunicorn finds an error, before the application sees anything of the request."""

import json
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ExpectationFailed, InvalidResponseHeader, ParseException

from app.web.server.connection import Connection, lacks
from app.web.server.worker import EpollWorker

Pair = tuple[Connection, socket.socket]
HERE = ("127.0.0.1", 8080)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return a connection as the server has it, and its sender's end."""
    config = Config()
    config.set("limit_request_line", 200)
    config.set("limit_request_field_size", 300)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(config, ours, HERE, HERE)
        connection.init()
        theirs.settimeout(5)
        yield connection, theirs


def worker(logged: list[str]) -> Any:
    made = EpollWorker.__new__(EpollWorker)
    made.cfg = Config()
    made.log = SimpleNamespace(
        warning=logged.append, exception=lambda *words: logged.append(words[0]), access=print, debug=print
    )
    return made


def answered(pair: Pair, raw: bytes) -> tuple[bytes, bytes]:
    """Return head and body of the answer to what can't be parsed."""
    connection, theirs = pair
    theirs.sendall(raw)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(ParseException) as found:
        next(connection.parser)
    return refused(pair, found.value)


def refused(pair: Pair, error: BaseException) -> tuple[bytes, bytes]:
    connection, theirs = pair
    logged: list[str] = []
    worker(logged).handle_error(None, connection.sock, HERE, error)
    assert len(logged) == 1
    connection.sock.shutdown(socket.SHUT_WR)
    head, _, body = theirs.makefile("rb").read().partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    ("raw", "status", "name"),
    [
        (b"POST /webhooks/x\r\n\r\n", "400 Bad Request", "request-malformed"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", "400 Bad Request", "request-malformed"),
        (b"GET / HTTP/9.9\r\n\r\n", "400 Bad Request", "request-malformed"),
        (b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", "400 Bad Request", "request-malformed"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "400 Bad Request", "request-malformed"),
        (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\n\r\n", "414 ", "request-line-too-long"),
        (b"GET / HTTP/1.1\r\nExpect: a miracle\r\n\r\n", "417 Expectation Failed", "expectation-unsupported"),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 400 + b"\r\n\r\n", "431 ", "headers-too-large"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", "431 ", "headers-too-large"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: br\r\n\r\n", "501 Not Implemented", "transfer-coding-unsupported"),
    ],
)
def test_what_gunicorn_refuses_is_a_problem(pair: Pair, raw: bytes, status: str, name: str) -> None:
    head, body = answered(pair, raw)
    first, *headers = head.decode().split("\r\n")
    assert first.startswith(f"HTTP/1.1 {status}")
    assert headers == [
        "Connection: close",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
    ]
    told = json.loads(body)
    assert (told["type"], told["status"]) == (f"/docs/problems#{name}", int(status[:3]))
    assert 0 < len(told["detail"]) <= 300


def test_an_error_of_ours_says_nothing_of_our_inside(pair: Pair) -> None:
    head, body = refused(pair, RuntimeError("the password is swordfish"))
    assert head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert json.loads(body)["type"] == "/docs/problems#internal-error"
    assert b"swordfish" not in body


def test_a_header_that_the_application_broke_is_our_fault(pair: Pair) -> None:
    head, _ = refused(pair, InvalidResponseHeader("X"))
    assert head.startswith(b"HTTP/1.1 500 ")


def test_what_a_sender_wrote_comes_back_as_json(pair: Pair) -> None:
    _, body = refused(pair, ExpectationFailed('"\x00\xff</script>\\'))
    assert "</script>" in json.loads(body)["detail"]


def test_a_sender_that_is_gone_is_told_nothing(pair: Pair) -> None:
    connection, theirs = pair
    theirs.close()
    logged: list[str] = []
    worker(logged).handle_error(None, connection.sock, HERE, ExpectationFailed("x"))
    assert len(logged) == 1


@pytest.mark.parametrize("expect", ["Expect:", "Expect: ", "expect:\t", "Expect:\r\nEXPECT:"])
def test_an_empty_expect_expects_nothing(pair: Pair, expect: str) -> None:
    connection, theirs = pair
    raw = f"POST /webhooks/x HTTP/1.1\r\nHost: x\r\n{expect}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    assert lacks(raw) == 0
    theirs.sendall(raw * 2)
    for _ in range(2):
        request = next(connection.parser)
        assert request.body.read() == b"{}"
        assert "EXPECT" not in dict(request.headers)
        assert not request._expected_100_continue


def test_an_expect_that_is_not_empty_is_what_it_was(pair: Pair) -> None:
    connection, theirs = pair
    raw = b"POST /webhooks/x HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n{}"
    assert lacks(raw) is None
    theirs.sendall(raw)
    assert next(connection.parser)._expected_100_continue
