"""Owns the public keys that a vendor publishes: fetched from its one host by a thread of their own, kept for a time.

A request only names a path, which its kind has checked; it never says where to. It waits for a key no longer than its
own time bound. Everything is bounded: how many keys, how many failures, how many may be asked for at once.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import requests
import structlog

from app.sources.kinds.adobe_signature import read_key
from app.web.server import loop

_LOG = structlog.get_logger()
_KEEP_S = 24 * 3600.0
_RENEW_S = 20 * 3600.0
"""A key that is still in use is fetched again before it ends, so that no flood of bad paths can be in its way."""
_ABSENT_S = 60.0
"""For how long the host's "there is no such key" is believed."""
_FAILED_S = 2.0
_MOST_KEYS, _MOST_ABSENT, _MOST_WANTED = 32, 256, 32
_MOST_BYTES = 16_384
_TIMEOUTS_S = (2.0, 3.0)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one request."""

    found: Mapping[str, bytes]
    complete: bool
    """Whether it is known of each path what is there; else trying again may help."""


@dataclass(frozen=True, slots=True)
class _Entry:
    pem: bytes | None
    """None: there is no such key."""
    at: float


class KeyRing:
    """The keys of one host, by path."""

    def __init__(self, url: str, *, wait_s: float) -> None:
        self._url = url
        self._wait_s = wait_s
        self._keys: OrderedDict[str, _Entry] = OrderedDict()
        self._absent: OrderedDict[str, _Entry] = OrderedDict()
        self._wanted: OrderedDict[str, None] = OrderedDict()
        self._failed_at = float("-inf")
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def get(self, paths: Sequence[str]) -> Keys:
        """Return what is known of these paths, after waiting for what isn't, but not for long."""
        with self._changed:
            for path in paths:
                self._want(path)
            found = {path: self._known(path) for path in paths}
        if not all(found.values()):
            found = loop.elsewhere(lambda: self._wait_for(paths))
        pems = {path: entry.pem for path, entry in found.items() if entry and entry.pem}
        return Keys(pems, complete=all(found.values()))

    def _wait_for(self, paths: Sequence[str]) -> dict[str, _Entry | None]:
        with self._changed:
            self._changed.wait_for(lambda: all(self._known(p) or p not in self._wanted for p in paths), self._wait_s)
            return {path: self._known(path) for path in paths}

    def close(self) -> None:
        """End the thread; a fetch under way ends by its own time-out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _want(self, path: str) -> None:
        entry = self._known(path)
        if entry and not (entry.pem and time.monotonic() - entry.at > _RENEW_S):
            return
        if entry is None and (len(self._wanted) >= _MOST_WANTED or time.monotonic() - self._failed_at < _FAILED_S):
            return
        self._wanted[path] = None
        if entry:
            # To renew goes first, and nobody waits for it.
            self._wanted.move_to_end(path, last=False)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="keyring", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _known(self, path: str) -> _Entry | None:
        now = time.monotonic()
        for entries, keep_s in ((self._keys, _KEEP_S), (self._absent, _ABSENT_S)):
            entry = entries.get(path)
            if entry and now - entry.at <= keep_s:
                return entry
        return None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._closed)
                if self._closed:
                    return
                path = next(iter(self._wanted))
            entry = self._fetch(path)
            with self._changed:
                if entry is None:
                    self._failed_at = time.monotonic()
                    self._wanted.clear()
                else:
                    self._put(path, entry)
                    self._wanted.pop(path, None)
                self._changed.notify_all()

    def _put(self, path: str, entry: _Entry) -> None:
        entries, most = (self._keys, _MOST_KEYS) if entry.pem else (self._absent, _MOST_ABSENT)
        entries[path] = entry
        entries.move_to_end(path)
        while len(entries) > most:
            entries.popitem(last=False)

    def _fetch(self, path: str) -> _Entry | None:
        """Return what is at a path, or None where that can't be known now."""
        try:
            with requests.get(
                self._url + path, timeout=_TIMEOUTS_S, allow_redirects=False, stream=True, auth=_no_auth
            ) as answer:
                pem = answer.raw.read(_MOST_BYTES, decode_content=True)
                if 400 <= answer.status_code < 500 and answer.status_code != 429:  # noqa: PLR2004  # RFC 9110
                    return _Entry(None, time.monotonic())
                if answer.status_code == 200 and read_key(pem):  # noqa: PLR2004  # RFC 9110
                    return _Entry(pem, time.monotonic())
                why = f"status {answer.status_code}"
        except (requests.RequestException, OSError) as error:
            why = type(error).__name__
        _LOG.warning("a public key can't be fetched", action="key_unfetched", why=why)
        return None


def _no_auth(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    # Else requests looks for a password in ~/.netrc.
    return prepared
