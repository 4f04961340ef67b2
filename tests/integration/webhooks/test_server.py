"""How a receiver process serves its connections, with the shipped configuration and an application of five lines."""

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.waiting import free_port, wait_until

APPLICATION = """
    import os, time
    def application(environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ["PATH_INFO"] == "/files":
            for file in [open(__file__) for _ in range(20)]:
                file.close()
        if environ["PATH_INFO"] == "/slow":
            open("entered", "w").close()
            time.sleep(1)
        if environ["PATH_INFO"] == "/who":
            body = str(os.getpid()).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
"""
Serve = Callable[..., tuple[subprocess.Popen[bytes], int]]


@pytest.fixture
def serve(tmp_path: Path, services: dict[str, str]) -> Iterator[Serve]:
    """Start gunicorn with more words; return it and its port."""
    (tmp_path / "answering.py").write_text(textwrap.dedent(APPLICATION))
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str, preexec: Callable[[], None] | None = None) -> tuple[subprocess.Popen[bytes], int]:
        port = free_port()
        config = Path(__file__).parents[3] / "app" / "gunicorn_conf.py"
        line = [sys.executable, "-m", "gunicorn", "--config", str(config), *words, "answering:application"]
        env = {**os.environ, **services, "PORT": str(port), "WEB_PROCESSES": "1", "WEB_THREADS": "4"}
        # S603, PLW1509: the limit of open files is for this process only.
        started.append(subprocess.Popen(line, cwd=tmp_path, env=env, preexec_fn=preexec))  # noqa: PLW1509
        wait_until(lambda: has_answered(port))
        return started[-1], port

    yield start
    for process in started:
        process.kill()
        process.wait()


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def request(body: str, path: str = "/") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def answers(connection: socket.socket, count: int = 1) -> list[tuple[str, bool]]:
    """Return so many bodies, each with whether its connection stays open."""
    got = b""
    found: list[tuple[str, bool]] = []
    while len(found) < count:
        head, end, rest = got.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0) if end else 0
        if end and len(rest) >= length:
            found.append((rest[:length].decode(), b"connection: close" not in head.lower()))
            got = rest[length:]
            continue
        more = connection.recv(65_536)
        assert more, got
        got += more
    return found


def answered(opened: ExitStack, port: int, count: int, path: str = "/") -> list[socket.socket]:
    """Return so many connections that are open at once, each with an answer and idle."""
    connections = [opened.enter_context(connect(port)) for _ in range(count)]
    for connection in connections:
        connection.sendall(request("x", path))
        assert answers(connection) == [("x", True)]
    return connections


def has_answered(port: int) -> bool:
    """Tell whether the server answers; when it does it hears of this connection's end before it accepts two more."""
    try:
        with connect(port) as probe:
            probe.sendall(request("probe", "/webhooks/x"))
            answers(probe)
    except ConnectionRefusedError:
        return False
    return True


def is_open(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


# What the loop serves, and what a thread does.
both = pytest.mark.parametrize("path", ["/webhooks/x", "/"])


@both
def test_a_connection_serves_one_request_after_another_also_those_sent_ahead(serve: Serve, path: str) -> None:
    _, port = serve()
    with connect(port) as one, connect(port) as other:
        for number in range(20):
            for connection in (one, other):
                connection.sendall(request(f"n{number}", path))
                assert answers(connection) == [(f"n{number}", True)]
        one.sendall(b"".join(request(f"ahead {number}", path) for number in range(10)))
        assert answers(one, 10) == [(f"ahead {number}", True) for number in range(10)]


@both
def test_a_request_may_come_in_pieces_and_waits_for_nobody(serve: Serve, path: str) -> None:
    _, port = serve()
    with connect(port) as slow, connect(port) as quick, connect(port):
        for piece in request("in pieces", path):
            slow.sendall(bytes([piece]))
            if piece == ord("\n"):
                quick.sendall(request("quick", path))
                assert answers(quick) == [("quick", True)]
        assert answers(slow) == [("in pieces", True)]


@both
def test_more_connections_than_threads_are_served(serve: Serve, path: str) -> None:
    _, port = serve()
    with ExitStack() as opened:
        connections = [opened.enter_context(connect(port)) for _ in range(40)]
        for _ in range(3):
            for number, connection in enumerate(connections):
                connection.sendall(request(str(number), path))
            assert [answers(connection) for connection in connections] == [[(str(n), True)] for n in range(40)]


def test_what_is_not_one_whole_request_is_a_threads_and_answered_all_the_same(serve: Serve) -> None:
    _, port = serve()
    chunked = b"POST /webhooks/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    with connect(port) as connection:
        for sent, body in (
            (chunked, ""),
            (request("large" * 10_000, "/webhooks/x"), "large" * 10_000),
            (b"POST /webhooks/x HTTP/1.1\r\nHost: x\r\n\r\n", ""),
            (request("whole", "/webhooks/x") + request("and more", "/webhooks/x")[:-3], "whole"),
            (b"ore", "and more"),
        ):
            connection.sendall(sent)
            assert answers(connection) == [(body, True)]
        connection.sendall(b"POST /webhooks/x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 400 ")
        assert is_closed(connection)


def test_requests_for_the_door_that_stop_half_way_keep_no_thread_and_end_in_their_time(serve: Serve) -> None:
    _, port = serve()
    whole = request("in two pieces", "/webhooks/x")
    with ExitStack() as opened, connect(port) as quick:
        halves = [opened.enter_context(connect(port)) for _ in range(20)]
        for number, half in enumerate(halves):
            half.sendall(whole[: -number - 1])
        for path in ("/webhooks/x", "/"):
            quick.sendall(request("quick", path))
            assert answers(quick) == [("quick", True)]
        # None of them has ended, not even in its time.
        assert select.select(halves, [], [], 0)[0] == []
        halves[0].sendall(whole[-1:])
        halves[0].settimeout(20)
        assert answers(halves[0]) == [("in two pieces", True)]
        for half in halves[1:]:
            half.settimeout(20)
            assert half.recv(65_536) == b""


def test_connections_that_wait_for_a_thread_make_room_at_the_limit(serve: Serve) -> None:
    _, port = serve("--worker-connections", "6")
    with ExitStack() as opened:
        # Half a request for anything else keeps one of the four threads, or waits for one.
        halves = [opened.enter_context(connect(port)) for _ in range(10)]
        for half in halves:
            with suppress(ConnectionError):
                half.sendall(b"G")
        quick = opened.enter_context(connect(port))
        quick.sendall(request("quick", "/webhooks/x"))
        assert answers(quick) == [("quick", True)]
        assert [is_closed(half) for half in halves].count(True) >= 5


def test_a_sender_that_reads_no_answers_is_closed_and_keeps_nobody_waiting(serve: Serve) -> None:
    _, port = serve()
    with socket.socket() as deaf, connect(port) as quick:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        deaf.setblocking(False)
        one = request("x" * 8_000, "/webhooks/x")

        def was_closed() -> bool:
            with suppress(BlockingIOError):
                deaf.send(one)
            quick.sendall(request("quick", "/webhooks/x"))
            assert answers(quick) == [("quick", True)]
            return False

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            wait_until(was_closed)


def who_answers(port: int, connections: int) -> Counter[int]:
    """Open so many connections at once; return how many each process has taken."""
    with ExitStack() as opened:
        opened_now = [opened.enter_context(connect(port)) for _ in range(connections)]
        for connection in opened_now:
            connection.sendall(request("", "/who"))
        return Counter(int(answers(connection)[0][0]) for connection in opened_now)


def test_a_burst_of_connections_is_shared_by_the_processes_also_after_one_was_killed(serve: Serve) -> None:
    _, port = serve("--workers", "2")
    gone: set[int] = set()
    for _ in range(2):
        wait_until(lambda: len(who_answers(port, 10).keys() - gone) == 2)
        shares = who_answers(port, 100)
        assert min(shares.values()) >= 25, shares
        gone.add(killed := next(iter(shares)))
        os.kill(killed, signal.SIGKILL)


def test_a_frozen_process_keeps_nobody_waiting_for_its_turn(serve: Serve) -> None:
    _, port = serve("--workers", "2")
    wait_until(lambda: len(who_answers(port, 10)) == 2)
    frozen, other = who_answers(port, 10)
    os.kill(frozen, signal.SIGSTOP)
    try:
        # A thread that runs on stops a moment later; what it takes until then is its own.
        threads = [task / "stat" for task in Path(f"/proc/{frozen}/task").iterdir()]
        wait_until(lambda: all(" T " in stat.read_text() for stat in threads))
        assert who_answers(port, 20) == Counter({other: 20})
    finally:
        os.kill(frozen, signal.SIGCONT)


@both
def test_an_empty_expect_is_ignored(serve: Serve, path: str) -> None:
    _, port = serve()
    with connect(port) as connection:
        for body in ("first", "second"):
            connection.sendall(request(body, path).replace(b"\r\n\r\n", b"\r\nExpect:\r\n\r\n", 1))
            assert answers(connection) == [(body, True)]


@pytest.mark.parametrize(
    ("raw", "status", "name"),
    [
        (b"POST /webhooks/x HTTP/1.1\r\nA b: c\r\nContent-Length: 0\r\n\r\n", 400, "request-malformed"),
        (b"nonsense\r\n\r\n", 400, "request-malformed"),
        (b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\n\r\n", 414, "request-line-too-long"),
        (b"GET / HTTP/1.1\r\nExpect: more\r\n\r\n", 417, "expectation-unsupported"),
        (b"POST /webhooks/x HTTP/1.1\r\nA: " + b"b" * 8_200 + b"\r\n\r\n", 431, "headers-too-large"),
    ],
)
def test_what_is_no_http_is_answered_with_a_problem(serve: Serve, raw: bytes, status: int, name: str) -> None:
    _, port = serve()
    with connect(port) as connection:
        connection.sendall(raw)
        answer = connection.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert json.loads(body)["type"] == f"/docs/problems#{name}"


def test_an_idle_connection_is_closed_in_its_time(serve: Serve) -> None:
    _, port = serve("--keep-alive", "1")
    with connect(port) as used, connect(port) as silent:
        used.sendall(request("x"))
        assert answers(used) == [("x", True)]
        wait_until(lambda: is_closed(used) and is_closed(silent))


def test_at_the_limit_one_idle_connection_makes_room(serve: Serve) -> None:
    _, port = serve("--worker-connections", "5")
    with ExitStack() as opened:
        connections = answered(opened, port, 5)
        newest = opened.enter_context(connect(port))
        newest.sendall(request("new"))
        assert answers(newest) == [("new", True)]
        assert [is_closed(connection) for connection in connections].count(True) == 1


def test_at_the_limit_those_go_first_that_have_their_last_answer(serve: Serve) -> None:
    _, port = serve("--worker-connections", "5")
    with ExitStack() as opened:
        connections = answered(opened, port, 4)
        last = opened.enter_context(connect(port))
        last.sendall(b"POST /webhooks/x HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        while last.recv(65_536):
            pass
        newest = opened.enter_context(connect(port))
        newest.sendall(request("new"))
        assert answers(newest) == [("new", True)]
        assert not any(map(is_closed, connections))


def test_at_the_limit_no_request_that_has_come_is_closed_unread(serve: Serve) -> None:
    process, port = serve("--worker-connections", "5")
    (child,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    with ExitStack() as opened:
        longest, *silent = answered(opened, port, 5, "/webhooks/x")
        os.kill(child, signal.SIGSTOP)
        newest = opened.enter_context(connect(port))
        longest.sendall(request("longest", "/webhooks/x"))
        newest.sendall(request("new", "/webhooks/x"))
        os.kill(child, signal.SIGCONT)
        assert answers(longest) == [("longest", True)]
        assert answers(newest) == [("new", True)]
        assert [is_closed(connection) for connection in silent].count(True) == 1


def test_however_many_connections_come_files_are_left_for_what_a_request_needs(serve: Serve) -> None:
    _, port = serve(preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128)))
    with ExitStack() as silent:
        for _ in range(150):
            silent.enter_context(connect(port))
        with connect(port) as newest:
            newest.sendall(request("new", "/files"))
            assert answers(newest) == [("new", True)]


def test_where_files_run_short_all_the_same_the_longest_idle_connections_go(serve: Serve) -> None:
    process, port = serve()
    with connect(port) as first:
        first.sendall(request("first"))
        assert answers(first) == [("first", True)]
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        most = len(list(Path(f"/proc/{child}/fd").iterdir())) + 5
        resource.prlimit(int(child), resource.RLIMIT_NOFILE, (most, most))
        with ExitStack() as silent:
            for _ in range(12):
                silent.enter_context(connect(port))
            with connect(port) as last:
                last.sendall(request("last"))
                assert answers(last) == [("last", True)]
        assert is_closed(first)


def test_stopping_finishes_what_is_under_way_and_says_that_the_connection_closes(serve: Serve, tmp_path: Path) -> None:
    process, port = serve()
    with connect(port) as busy, connect(port) as idle, connect(port) as half:
        half.sendall(request("half", "/webhooks/x")[:-2])
        idle.sendall(request("before"))
        assert answers(idle) == [("before", True)]
        busy.sendall(request("slow", "/slow"))
        wait_until((tmp_path / "entered").exists)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_open(port))
        idle.sendall(request("while stopping"))
        assert answers(idle) == [("while stopping", False)]
        half.sendall(b"lf")
        assert answers(half) == [("half", False)]
        ((body, _),) = answers(busy)
        assert body == "slow"
    assert process.wait(timeout=20) == 0


def test_a_process_whose_parent_is_gone_ends(serve: Serve) -> None:
    process, port = serve()
    process.kill()
    wait_until(lambda: not is_open(port))
