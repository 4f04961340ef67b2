"""Owns how a receiver process serves its connections: in one loop, with threads for what may wait.

gunicorn's own threaded worker (gthread) polls in one thread, hands each request to another and takes its connection
back. For a request that is half a millisecond of work those are more turns at Python's lock than the request itself
takes. Here one thread reads what has come, and serves what waits for nobody but the database's commit: a small request
for the receiver, once it is there as a whole. Everything else is a thread's. Parsing, answers, limits, signals and the
watch over the process stay gunicorn's.
"""

import errno
import os
import resource
import select
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from app.web.server import http_errors, loop
from app.web.server.balance import Balance
from app.web.server.connection import DRAINED, LINGER_S, SMALL, WHOLE_S, Connection, lacks
from app.web.server.connections import Connections
from app.web.server.loop import Loop

_TICK_S = 1.0
_STOPPING_TICK_S = 0.05
_AGAIN_S = 0.05
_NEXT_NEW = select.EPOLLIN | select.EPOLLONESHOT
"""Each process is woken for a new connection, and takes one."""
_OTHERS_TURN_S = 0.001
"""How long a connection is left to a process that has fewer; one that doesn't come is busy, or frozen."""
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SPARE_FILES = 64
"""Left for everything else that a request needs: the databases' sockets, files, modules that are loaded late."""
_AT_ONCE = 64
"""So many connections are read before those go on that wait: the most of them share one commit."""
_ELSEWHERE = 16
"""Threads for what requests in the loop wait for: mostly each other's commit, for some milliseconds."""


def _files_left() -> int:
    """Return how many more files this process may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - len(list(Path("/proc/self/fd").iterdir()))


class EpollWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, with a loop in front of the threads (Linux only)."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.balance = Balance(self.age, self.cfg.workers)

    def init_process(self) -> None:
        """Begin to serve; returns when the process is to end."""
        self._epoll = select.epoll()
        self._threads: SimpleQueue[int] = SimpleQueue()
        """Their file descriptors; one whose connection was closed meanwhile finds another, or none."""
        super().init_process()

    def get_thread_pool(self) -> None:
        """Make none: the threads are of this class."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # gunicorn's signature
        """End gracefully; the signal itself has written to the pipe that ``_pause`` waits for."""
        self.alive = False

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """End at once."""
        super(ThreadWorker, self).handle_quit(sig, frame)

    def handle_error(self, request: Any, sock: socket.socket, sender: Any, error: BaseException) -> None:
        """Log what gunicorn logs, and answer as the application does."""
        super().handle_error(request, http_errors.Answering(sock, error), sender, error)

    def run(self) -> None:
        """Accept and serve until told to end, then finish what is under way."""
        at_most = min(self.worker_connections, max(1, _files_left() - _SPARE_FILES))
        self._connections = Connections(self._epoll, self.balance, at_most)
        listeners = {listener.fileno(): listener for listener in self.sockets}
        for fd, listener in listeners.items():
            listener.setblocking(False)
            self._epoll.register(fd, _NEXT_NEW)
        self.balance.say(0)
        self._loop = Loop(partial(self.log.exception, "a connection broke its turn in the loop"))
        # TLS and HTTP/2 without it begin with words of their own, which gunicorn reads.
        self._reads = not self.cfg.is_ssl and self.cfg.http2_cleartext not in {"prior-knowledge", "both"}
        self._epoll.register(self._loop.fileno(), select.EPOLLIN)
        for number in range(self.cfg.threads):
            threading.Thread(target=self._work, name=f"serve-{number}", daemon=True).start()
        for number in range(_ELSEWHERE):
            threading.Thread(target=self._work_elsewhere, name=f"elsewhere-{number}", daemon=True).start()
        threading.Thread(target=self._serve, args=(listeners,), name="loop", daemon=True).start()
        while self.alive and self.is_parent_alive():
            # A process whose loop hangs is to be ended by gunicorn's master.
            if self._loop.has_turned():
                self.notify()
            self._connections.close_idle(time.monotonic())
            self._pause(_TICK_S)
        for fd, listener in listeners.items():
            self._epoll.unregister(fd)
            listener.close()
        self._connections.take_no_more()
        self._finish(time.monotonic())

    def _finish(self, began: float) -> None:
        """Let requests under way end; answers say from now on that their connection closes."""
        while self._connections.are_open() and time.monotonic() < began + self.cfg.graceful_timeout:
            self.notify()
            now = time.monotonic()
            # A sender may be about to use a connection that it was told would stay.
            self._connections.close_idle(now, all_of_them=now >= began + STOP_KEEPALIVE_LINGER)
            self._pause(_STOPPING_TICK_S)

    def _pause(self, seconds: float) -> None:
        """Wait, but for a signal (signal.set_wakeup_fd, in gunicorn's base)."""
        if select.select([self.PIPE[0]], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                os.read(self.PIPE[0], 4096)

    def _serve(self, listeners: dict[int, socket.socket]) -> None:
        """Begin requests, and go on with those that can."""
        here = self._loop
        here.enter()
        while True:
            for fd, _ in self._epoll.poll(here.pause_s(), maxevents=_AT_ONCE):
                if fd == here.fileno():
                    here.heard()
                elif fd in listeners:
                    here.begin(partial(self._welcome, fd, listeners[fd]))
                elif (connection := self._connections.take_idle(fd)) is not None:
                    here.begin(partial(self._begin, fd, connection))
            here.go_on()

    def _work(self) -> None:
        """Serve what may wait."""
        while True:
            fd = self._threads.get()
            connection = self._connections.take_given(fd)
            if connection is None:
                continue
            try:
                self._answer(fd, connection)
            except Exception:
                self.log.exception("a connection broke its thread's turn")

    def _work_elsewhere(self) -> None:
        """Do what requests in the loop wait for; behind no connection that keeps a thread."""
        while True:
            self._loop.jobs.get()()

    def _welcome(self, fd: int, listener: socket.socket) -> None:
        """Take one connection, or leave it for a moment to a process that has fewer."""
        if self.balance.is_turn_of_another(self._connections.are_open()):
            self._loop.later(_OTHERS_TURN_S, partial(self._accept, fd, listener))
        else:
            self._accept(fd, listener)

    def _accept(self, fd: int, listener: socket.socket) -> None:
        """Take one connection, if another process hasn't, and listen for the next."""
        if not self.alive:
            return
        again_in_s = 0.0
        try:
            if self._connections.have_room():
                accepted, address = listener.accept()
                self._connections.begin(Connection(self.cfg, accepted, address, listener.getsockname()))
            else:
                again_in_s = _AGAIN_S
        except BlockingIOError:
            pass  # another process was quicker
        except OSError as error:
            # Any other is of this one connection: its sender gave up, or the network did (accept(2)). Linux says
            # EMFILE where nobody waits, too.
            if error.errno in _SHORT and select.select([fd], [], [], 0)[0]:
                self._connections.close_longest_idle()
                again_in_s = _AGAIN_S
        finally:
            if again_in_s:
                self._loop.later(again_in_s, partial(self._listen, fd))
            else:
                self._listen(fd)

    def _listen(self, fd: int) -> None:
        with suppress(OSError, ValueError):  # stopped meanwhile
            self._epoll.modify(fd, _NEXT_NEW)  # tells at once of what is still there

    def _begin(self, fd: int, connection: Connection) -> None:
        """Read what has come, and serve it."""
        if not self._reads:
            self._give(fd, connection)
            return
        try:
            data = connection.sock.recv(SMALL, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._connections.wait(fd, connection)
            return
        except OSError:
            data = b""
        if not data or connection.is_closing:
            # One answer is on its way, and nobody reads what else is sent; too much of that resets the connection.
            connection.drained += len(data)
            if data and connection.drained < DRAINED:
                self._connections.wait(fd, connection)
            else:
                self._connections.close(connection)
            return
        try:
            self._look(fd, connection, data)
        except BaseException:
            self._connections.close(connection)
            raise

    def _look(self, fd: int, connection: Connection, data: bytes) -> None:
        """Serve here what is a small webhook request, once it is here as a whole, and all else in a thread."""
        if len(data) < connection.lacks:
            self._hold(fd, connection, data, connection.lacks - len(data))
            return
        while data:
            data = connection.take_held() + data
            missing = lacks(data)
            if missing:
                self._hold(fd, connection, data, missing)
                return
            connection.init()
            connection.parser.unreader.unread(data)
            if missing is None:
                self._give(fd, connection)
                return
            if not self._serve_whole(connection):
                self._linger(fd, connection)
                return
            # What was sent ahead.
            data = connection.parser.unreader.take_buffered()
            if data:
                loop.let_others_first()
        self._connections.wait(fd, connection)

    def _hold(self, fd: int, connection: Connection, data: bytes, missing: int) -> None:
        """Keep what has come of a request, and wait for more of it."""
        if not connection.held:
            connection.timeout = time.monotonic() + WHOLE_S
        connection.held += data
        connection.lacks = missing
        self._connections.wait(fd, connection)

    def _give(self, fd: int, connection: Connection) -> None:
        """Let a thread serve a connection's next request."""
        self._connections.give(fd, connection)
        self._threads.put(fd)

    def _serve_whole(self, connection: Connection) -> bool:
        """Do what gunicorn's ``handle`` does, with a socket that never waits; tell whether the connection stays.

        A sender that doesn't read its answers is closed once the kernel takes no more of them.
        """
        request = None
        try:
            connection.sock.setblocking(False)
            request = next(connection.parser)
            return bool(self.handle_request(request, connection) and connection.parser.finish_body())
        except (NoMoreData, StopIteration, OSError) as error:
            self.log.debug("Closing connection. %r", error)
        except Exception as error:  # noqa: BLE001  # as gunicorn does: whatever it is, its sender is told
            self.handle_error(request, connection.sock, connection.client, error)
        return False

    def _answer(self, fd: int, connection: Connection) -> None:
        keep = False
        try:
            keep = self.handle(connection)
            # What was read ahead makes no socket readable.
            while keep and connection.parser.unreader.buf.getvalue():
                keep = self.handle(connection)
        finally:
            if keep:
                self._connections.wait(fd, connection)
            else:
                self._linger(fd, connection)

    def _linger(self, fd: int, connection: Connection) -> None:
        """Close a connection once its sender has: what still comes would reset it, and the answer (RFC 9112, 9.6)."""
        if not self._reads:
            self._connections.close(connection, graceful=True)
            return
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._connections.close(connection)
            return
        connection.is_closing = True
        connection.timeout = time.monotonic() + LINGER_S
        self._connections.wait(fd, connection)
