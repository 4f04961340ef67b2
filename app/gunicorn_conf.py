"""Owns how gunicorn serves the receiver; its values come from config.settings, its names are gunicorn's.

Nothing is connected before the fork: preload_app stays off, so each process builds the receiver for itself.
"""

import ctypes
import select
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from config.heap import load_lean, settle
from config.settings import settings

SENDER_TIMEOUT_S = 5
SWITCH_S = 0.001
_M_ARENA_MAX = -8
"""mallopt(3)'s name for it, from malloc.h."""
_settings = settings()
_host = f"[{_settings.bind}]" if ":" in _settings.bind else _settings.bind

proc_name = "tiercel-web"
bind = [f"{_host}:{_settings.port}"]
# Room for the connections of a burst; the kernel caps it at net.core.somaxconn.
backlog = 2048

# On macOS, which has no epoll, whoever develops there gets gunicorn's own.
worker_class = "app.web.server.worker.EpollWorker" if hasattr(select, "epoll") else "gthread"
workers = _settings.web_processes
threads = _settings.web_threads
# Idle keep-alive connections cost no thread, but each counts here.
worker_connections = 1000
# A sender's next event often follows within seconds.
keepalive = 15
# A process that doesn't beat for this long is killed; a request is bounded far below (store_timeout_s).
timeout = 30
graceful_timeout = 30
preload_app = False
control_socket_disable = True
# The heartbeat's file must not wait for a disk.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # gunicorn unlinks it at once


def on_starting(server: Any) -> None:  # noqa: ARG001  # gunicorn's signature
    """Load the receiver's code once, for its processes to share."""
    load_lean()
    from app.observability import tracing  # noqa: PLC0415  # the same

    tracing.load()
    settle()


def post_worker_init(worker: Any) -> None:  # noqa: ARG001  # gunicorn's signature
    """Let the application, too, be looked at no more."""
    settle()


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001  # gunicorn's signature
    """Let threads take turns more often than every 5 ms, Python's default, and share a heap.

    Whoever has just got an answer from the database waits for its turn. And Python's lock lets one thread allocate at
    a time, so a heap for each (glibc's default) only fills memory with what each of them once needed.
    """
    sys.setswitchinterval(SWITCH_S)
    with suppress(AttributeError):  # another C library has no such setting
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001  # gunicorn's signature
    """Count a process that ended no longer, however it ended."""
    if hasattr(worker, "balance"):  # gunicorn's own worker has none
        worker.balance.leave()


def when_ready(server: Any) -> None:
    """Bound how long a read from a sender, or a write to it, may take: accepted sockets inherit it (socket(7)).

    Without it a sender that stops in the middle of a request, or reads no answers, holds a thread for as long as it
    likes. One that sends a byte now and then still can: a proxy that buffers requests belongs in front of a public
    intake.
    """
    for listener in server.LISTENERS:
        for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            listener.sock.setsockopt(socket.SOL_SOCKET, limit, struct.pack("ll", SENDER_TIMEOUT_S, 0))


# Header limits (RFC 9110 leaves them to the server). Signatures and trace headers are far shorter.
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190

# gunicorn believes SCRIPT_NAME and PATH_INFO from whoever connects over loopback, as a proxy of this machine does for
# everybody: a stranger could have one path answered by another's route, or a 500. We have no prefix, ask no scheme.
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
accesslog = None
errorlog = "-"
loglevel = "warning" if _settings.log_level.upper() in {"INFO", "WARNING"} else _settings.log_level.lower()
