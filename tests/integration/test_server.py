"""How a receiver process serves its connections, with the shipped configuration and an application of five lines."""

import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.waiting import free_port, wait_until

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
        config = Path(__file__).parents[2] / "config" / "gunicorn.py"
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


def has_answered(port: int) -> bool:
    """Tell whether the server answers; when it does it knows of no connection any more."""
    try:
        with connect(port) as probe:
            probe.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while probe.recv(65_536):
                pass
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


def test_a_connection_serves_one_request_after_another_also_those_sent_ahead(serve: Serve) -> None:
    _, port = serve()
    with connect(port) as one, connect(port) as other:
        for number in range(20):
            for connection in (one, other):
                connection.sendall(request(f"n{number}"))
                assert answers(connection) == [(f"n{number}", True)]
        one.sendall(b"".join(request(f"ahead {number}") for number in range(10)))
        assert answers(one, 10) == [(f"ahead {number}", True) for number in range(10)]


def test_a_request_may_come_in_pieces_and_waits_for_nobody(serve: Serve) -> None:
    _, port = serve()
    with connect(port) as slow, connect(port) as quick, connect(port):
        for piece in request("in pieces"):
            slow.sendall(bytes([piece]))
            if piece == ord("\n"):
                quick.sendall(request("quick"))
                assert answers(quick) == [("quick", True)]
        assert answers(slow) == [("in pieces", True)]


def test_more_connections_than_threads_are_served(serve: Serve) -> None:
    _, port = serve()
    with ExitStack() as opened:
        connections = [opened.enter_context(connect(port)) for _ in range(40)]
        for _ in range(3):
            for number, connection in enumerate(connections):
                connection.sendall(request(str(number)))
            assert [answers(connection) for connection in connections] == [[(str(n), True)] for n in range(40)]


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


def test_an_idle_connection_is_closed_in_its_time(serve: Serve) -> None:
    _, port = serve("--keep-alive", "1")
    with connect(port) as used, connect(port) as silent:
        used.sendall(request("x"))
        assert answers(used) == [("x", True)]
        wait_until(lambda: is_closed(used) and is_closed(silent))


def test_at_the_limit_one_idle_connection_makes_room(serve: Serve) -> None:
    _, port = serve("--worker-connections", "5")
    with ExitStack() as opened:
        connections = [opened.enter_context(connect(port)) for _ in range(5)]
        for connection in connections:
            connection.sendall(request("x"))
            assert answers(connection) == [("x", True)]
        newest = opened.enter_context(connect(port))
        newest.sendall(request("new"))
        assert answers(newest) == [("new", True)]
        assert [is_closed(connection) for connection in connections].count(True) == 1


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
    with connect(port) as busy, connect(port) as idle:
        idle.sendall(request("before"))
        assert answers(idle) == [("before", True)]
        busy.sendall(request("slow", "/slow"))
        wait_until((tmp_path / "entered").exists)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_open(port))
        idle.sendall(request("while stopping"))
        assert answers(idle) == [("while stopping", False)]
        ((body, _),) = answers(busy)
        assert body == "slow"
    assert process.wait(timeout=20) == 0


def test_a_process_whose_parent_is_gone_ends(serve: Serve) -> None:
    process, port = serve()
    process.kill()
    wait_until(lambda: not is_open(port))
