"""Owns the connections of a receiver process: who may be open, who waits for whom, and who goes to make room."""

import select
from contextlib import suppress

from app.web.server.balance import Balance
from app.web.server.connection import Connection

_ONE_REQUEST = select.EPOLLIN | select.EPOLLONESHOT
"""A connection belongs to whoever was woken for it, until that arms it again."""


class Connections:
    """The open connections of one process; every thread of it may call. Whoever takes one out owns it."""

    def __init__(self, epoll: select.epoll, balance: Balance, at_most: int) -> None:
        self._epoll = epoll
        self._balance = balance
        self._at_most = at_most
        self._open: set[Connection] = set()
        self._idle: dict[int, Connection] = {}
        """By file descriptor those that wait for their sender, the longest idle first."""
        self._given: dict[int, Connection] = {}
        """In the same way those that wait for a thread."""
        self._lingering: dict[int, Connection] = {}
        """In the same way those with their last answer on its way."""
        self._takes = True

    def are_open(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def have_room(self) -> bool:
        """Make room for another where there is none; tell whether there is."""
        while len(self._open) >= self._at_most:
            if not self.close_longest_idle():
                return False
        return True

    def begin(self, connection: Connection) -> None:
        """Take a new one, and wait for what its sender says."""
        self._open.add(connection)
        self._say()
        fd = connection.sock.fileno()
        connection.set_timeout()
        self._idle[fd] = connection
        with suppress(OSError):  # closed meanwhile, at the limit
            self._epoll.register(fd, _ONE_REQUEST)

    def wait(self, fd: int, connection: Connection) -> None:
        """Wait for what its sender says next."""
        if not connection.held and not connection.is_closing:
            connection.set_timeout()
        self._put_back(fd, connection)

    def take_idle(self, fd: int) -> Connection | None:
        """Take out one whose sender has said something; None where it is closed already."""
        return self._idle.pop(fd, None) or self._lingering.pop(fd, None)

    def give(self, fd: int, connection: Connection) -> None:
        """Let it wait for a thread."""
        self._given[fd] = connection

    def take_given(self, fd: int) -> Connection | None:
        """Take out one that waits for a thread; None where it is closed already."""
        return self._given.pop(fd, None)

    def close_idle(self, now: float, *, all_of_them: bool = False) -> None:
        """Close those that have waited for their sender for long enough (monotonic seconds)."""
        for waiting in (self._lingering, self._idle):
            for fd, seen in list(waiting.items()):
                if not seen.is_over(now, all_of_them):
                    continue
                connection = waiting.pop(fd, None)
                if connection is None:
                    continue
                if connection.is_over(now, all_of_them):
                    self.close(connection)
                else:
                    # It was used in between, or is another; its wake-up may have come to nothing just now.
                    self._put_back(fd, connection)

    def close_longest_idle(self) -> bool:
        """Make room for a new one; tell whether there was one to close.

        First those go that have their answer, then those that say nothing, then those that nobody has begun to serve.
        What has come from its sender is about to be read, and closes no connection.
        """
        for waiting in (self._lingering, self._idle, self._given):
            for fd in list(waiting):
                connection = waiting.pop(fd, None)
                if connection is None:
                    continue
                if waiting is self._idle and connection.has_come():
                    self._put_back(fd, connection)
                    continue
                self.close(connection)
                return True
        return False

    def close(self, connection: Connection, *, graceful: bool = False) -> None:
        """Close one that somebody has taken out; ``graceful`` waits for its sender's end, for 2 s at the most."""
        self._open.discard(connection)
        self._say()
        connection.close(graceful=graceful)

    def take_no_more(self) -> None:
        """Be one of those that share new ones no longer."""
        self._takes = False
        self._balance.leave()

    def _put_back(self, fd: int, connection: Connection) -> None:
        (self._lingering if connection.is_closing else self._idle)[fd] = connection
        with suppress(OSError):  # closed meanwhile: at the limit, or while stopping
            self._epoll.modify(fd, _ONE_REQUEST)

    def _say(self) -> None:
        if self._takes:
            self._balance.say(len(self._open))
