"""Processes that are stopped for a while, as a machine that hangs."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


@contextlib.contextmanager
def frozen(name: str) -> Iterator[None]:
    """Stop every process of a private service with SIGSTOP, and let them go on afterwards."""
    record = Path(os.environ["TIERCEL_HOME"]) / "run" / name
    if not record.exists():
        pytest.skip(f"{name} isn't a private service of this run")
    # Children too: each of PostgreSQL's leads a session of its own.
    leader = psutil.Process(int(record.read_text().split()[0]))
    pids = [process.pid for process in (leader, *leader.children(recursive=True))]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
