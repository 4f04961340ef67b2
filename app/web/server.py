"""Owns how a receiver process serves its connections: a request is one wake-up of one thread.

gunicorn's own threaded worker (gthread) polls in one thread, hands each request to another and takes its connection
back. For a request that is a millisecond of work those are more turns at Python's lock than the request itself takes.
Here every thread waits on the same epoll, and serves what it was woken for. Parsing, answers, limits, signals and the
watch over the process stay gunicorn's.
"""

import errno
import os
import resource
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from app.web.balance import Balance

_TICK_S = 1.0
_STOPPING_TICK_S = 0.05
_AGAIN_S = 0.05
_ONE_REQUEST = select.EPOLLIN | select.EPOLLONESHOT
"""A connection belongs to the thread that was woken for it, until that arms it again."""
_NEXT_NEW = select.EPOLLIN | select.EPOLLONESHOT
"""One thread of each process is woken for a new connection, and takes one."""
_OTHERS_TURN_S = 0.001
"""How long a connection is left to a process that has fewer; one that doesn't come is busy, or frozen."""
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SPARE_FILES = 64
"""Left for everything else that a request needs: the databases' sockets, files, modules that are loaded late."""


def _files_left() -> int:
    """Return how many more files this process may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - len(list(Path("/proc/self/fd").iterdir()))


class EpollWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, with threads that fetch their own work (Linux only)."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.balance = Balance(self.age, self.cfg.workers)

    def init_process(self) -> None:
        """Begin to serve; returns when the process is to end."""
        self._epoll = select.epoll()
        self._open: set[TConn] = set()
        self._idle: dict[int, TConn] = {}
        """By file descriptor, the longest idle first. Whoever takes one out owns it."""
        super().init_process()

    def get_thread_pool(self) -> None:
        """Make none: the threads are of this class."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # gunicorn's signature
        """End gracefully; the signal itself has written to the pipe that ``_pause`` waits for."""
        self.alive = False

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """End at once."""
        super(ThreadWorker, self).handle_quit(sig, frame)

    def run(self) -> None:
        """Accept and serve until told to end, then finish what is under way."""
        self._at_most = min(self.worker_connections, max(1, _files_left() - _SPARE_FILES))
        listeners = {listener.fileno(): listener for listener in self.sockets}
        for fd, listener in listeners.items():
            listener.setblocking(False)
            self._epoll.register(fd, _NEXT_NEW)
        self.balance.say(0)
        for number in range(self.cfg.threads):
            threading.Thread(target=self._serve, args=(listeners,), name=f"serve-{number}", daemon=True).start()
        while self.alive and self.is_parent_alive():
            self.notify()
            self._close_idle(time.monotonic())
            self._pause(_TICK_S)
        for fd, listener in listeners.items():
            self._epoll.unregister(fd)
            listener.close()
        self.balance.leave()
        self._finish(time.monotonic())

    def _finish(self, began: float) -> None:
        """Let requests under way end; answers say from now on that their connection closes."""
        while self._open and time.monotonic() < began + self.cfg.graceful_timeout:
            self.notify()
            now = time.monotonic()
            # A sender may be about to use a connection that it was told would stay.
            self._close_idle(now if now < began + STOP_KEEPALIVE_LINGER else float("inf"))
            self._pause(_STOPPING_TICK_S)

    def _pause(self, seconds: float) -> None:
        """Wait, but for a signal (signal.set_wakeup_fd, in gunicorn's base)."""
        if select.select([self.PIPE[0]], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                os.read(self.PIPE[0], 4096)

    def _serve(self, listeners: dict[int, socket.socket]) -> None:
        while True:
            for fd, _ in self._epoll.poll(maxevents=1):
                try:
                    if fd in listeners:
                        self._accept(fd, listeners[fd])
                    elif (connection := self._idle.pop(fd, None)) is not None:
                        self._answer(fd, connection)
                except Exception:
                    self.log.exception("a connection broke its thread's turn")

    def _accept(self, fd: int, listener: socket.socket) -> None:
        """Take one connection, and let whichever thread is free, of this process or another, take the next."""
        if not self.alive:
            return
        if self.balance.is_turn_of_another(len(self._open)):
            time.sleep(_OTHERS_TURN_S)
        try:
            accepted, address = listener.accept()
        except BlockingIOError:
            return  # another process was quicker
        except OSError as error:
            # Any other is of this one connection: its sender gave up, or the network did (accept(2)). Linux says
            # EMFILE where nobody waits, too.
            if error.errno in _SHORT and select.select([fd], [], [], 0)[0]:
                self._close_longest_idle()
                time.sleep(_AGAIN_S)
            return
        finally:
            with suppress(OSError, ValueError):  # stopped meanwhile
                self._epoll.modify(fd, _NEXT_NEW)  # tells at once of what is still there
        while len(self._open) >= self._at_most and self._close_longest_idle():
            pass
        connection = TConn(self.cfg, accepted, address, listener.getsockname())
        connection.data_ready = True  # it is only ever read when there is something
        self._open.add(connection)
        self.balance.say(len(self._open))
        self._await(accepted.fileno(), connection, select.epoll.register)

    def _answer(self, fd: int, connection: TConn) -> None:
        keep = False
        try:
            keep = self.handle(connection)
            # What was read ahead makes no socket readable.
            while keep and connection.parser.unreader.buf.getvalue():
                keep = self.handle(connection)
        finally:
            if keep:
                self._await(fd, connection, select.epoll.modify)
            else:
                self._close(connection, graceful=True)

    def _await(self, fd: int, connection: TConn, arm: Callable[[select.epoll, int, int], None]) -> None:
        """Let whichever thread is free serve the connection's next request."""
        connection.set_timeout()
        self._idle[fd] = connection
        with suppress(OSError):  # closed meanwhile: at the limit, or while stopping
            arm(self._epoll, fd, _ONE_REQUEST)

    def _close_idle(self, now: float) -> None:
        for fd, seen in list(self._idle.items()):
            if seen.timeout > now:
                continue
            connection = self._idle.pop(fd, None)
            if connection is None:
                continue
            if connection.timeout > now:
                # It was used in between, or is another; its wake-up may have come to nothing just now.
                self._idle[fd] = connection
                with suppress(OSError):
                    self._epoll.modify(fd, _ONE_REQUEST)
            else:
                self._close(connection)

    def _close_longest_idle(self) -> bool:
        """Make room for a new connection; tell whether there was one to close."""
        for fd in list(self._idle):
            connection = self._idle.pop(fd, None)
            if connection is not None:
                self._close(connection)
                return True
        return False

    def _close(self, connection: TConn, *, graceful: bool = False) -> None:
        self._open.discard(connection)
        if self.alive:
            self.balance.say(len(self._open))
        connection.close(graceful=graceful)
